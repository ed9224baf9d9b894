"""Style sheet of a report: light and dark theme, and print."""

STYLE = """
:root {
  color-scheme: light dark;
  --text: #1c2024; --quiet: #565d66; --page: #ffffff; --raised: #f4f6f8; --line: #8a929c;
  --grid: #e3e7eb; --link: #0a58a8;
  --series-1: #0b62a4; --series-2: #b3480a; --series-3: #1b7a4b; --series-4: #8e3a9c;
  --series-5: #776400; --series-6: #b0245a; --series-7: #3d6b78; --series-8: #5b4bc4;
}
@media (prefers-color-scheme: dark) {
  :root {
    --text: #e6e9ed; --quiet: #a9b1bb; --page: #15181c; --raised: #1f2429; --line: #7b848f;
    --grid: #323940; --link: #7db8f5;
    --series-1: #6db3f2; --series-2: #f0954f; --series-3: #5fcf97; --series-4: #d58fe0;
    --series-5: #d1bf4a; --series-6: #ff86b3; --series-7: #86c3d3; --series-8: #aca2ff;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0 auto; padding: 1.5rem 1rem 4rem; max-width: 60rem; color: var(--text);
  background: var(--page); font: 1rem/1.5 system-ui, -apple-system, "Segoe UI", Roboto, Arial,
  "Liberation Sans", sans-serif;
}
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0 0 0.25rem; overflow-wrap: anywhere; }
h2 {
  font-size: 1.25rem; margin: 2.5rem 0 0.75rem; padding-bottom: 0.25rem;
  border-bottom: 1px solid var(--grid);
}
p, li { max-width: 48rem; overflow-wrap: anywhere; }
.subtitle { color: var(--quiet); margin: 0; }
a { color: var(--link); }
nav ul { list-style: none; display: flex; flex-wrap: wrap; gap: 0.25rem 1.1rem; padding: 0; }
nav ul { margin: 1rem 0 0; font-size: 0.9rem; }
#findings li { margin-bottom: 0.35rem; }
figure { margin: 1.5rem 0 2rem; }
figcaption { color: var(--quiet); font-size: 0.9rem; margin: 0.4rem 0; max-width: 48rem; }
figure svg { display: block; max-width: 100%; height: auto; }
.scroll { overflow-x: auto; }
details { font-size: 0.9rem; }
summary { cursor: pointer; color: var(--link); }
table { border-collapse: collapse; font-size: 0.85rem; margin: 0.75rem 0 1.25rem; }
caption { text-align: left; font-weight: 600; padding-bottom: 0.35rem; }
th, td { text-align: left; vertical-align: top; padding: 0.25rem 0.9rem 0.25rem 0; }
th { font-weight: 600; color: var(--quiet); border-bottom: 1px solid var(--line); }
td { border-bottom: 1px solid var(--grid); max-width: 32rem; overflow-wrap: break-word; }
.number { text-align: right; font-variant-numeric: tabular-nums; }
pre {
  overflow-x: auto; padding: 0.75rem; background: var(--raised); font-size: 0.8rem;
  border-radius: 4px;
}
:focus-visible { outline: 2px solid var(--link); outline-offset: 2px; }
@media print {
  :root {
    color-scheme: light;
    --text: #000000; --quiet: #333333; --page: #ffffff; --raised: #f4f6f8; --line: #666666;
    --grid: #d8dce0; --link: #000000;
    --series-1: #0b62a4; --series-2: #b3480a; --series-3: #1b7a4b; --series-4: #8e3a9c;
    --series-5: #776400; --series-6: #b0245a; --series-7: #3d6b78; --series-8: #5b4bc4;
  }
  @page { margin: 15mm; }
  body { max-width: none; padding: 0; font-size: 10pt; }
  nav { display: none; }
  .scroll { overflow: visible; }
  h2, figure > .scroll, figcaption, caption { break-after: avoid; }
  figure svg, tr { break-inside: avoid; }
  thead { display: table-header-group; }
  details::details-content { content-visibility: visible; display: block; height: auto; }
  summary { color: var(--quiet); list-style: none; }
  pre { white-space: pre-wrap; }
  table { font-size: 8pt; }
}
"""
