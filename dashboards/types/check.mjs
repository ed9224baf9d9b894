// Checks dashboards with the TypeScript compiler against the types of @grafana/schema.
//
//   node check.mjs [FILE.json ...]
//
// Each dashboard becomes an object literal with the type Dashboard. The types of Grafana do not describe
// the options of panels, so those of each panel become a literal with the type of its kind.
import { readFileSync, readdirSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';

const HERE = dirname(fileURLToPath(import.meta.url));
const DASHBOARDS = join(HERE, '../../roles/grafana/files/dashboards');

const RAW = '@grafana/schema/dist/esm/raw/composable';
const KINDS = {
  bargauge: 'bargauge/panelcfg/x/BarGaugePanelCfg_types.gen',
  stat: 'stat/panelcfg/x/StatPanelCfg_types.gen',
  'state-timeline': 'statetimeline/panelcfg/x/StateTimelinePanelCfg_types.gen',
  table: 'table/panelcfg/x/TablePanelCfg_types.gen',
  timeseries: 'timeseries/panelcfg/x/TimeSeriesPanelCfg_types.gen',
  xychart: 'xychart/panelcfg/x/XYChartPanelCfg_types.gen',
};

// Grafana reads these properties, but the types do not contain them.
const UNTYPED = {
  annotation: ['expr', 'step', 'tagKeys', 'textFormat', 'titleFormat'],
  variable: ['definition'],
};

// The types use enums, and JSON contains their values.
const PLAIN = `
type Plain<T> = T extends string ? \`\${T}\`
  : T extends readonly (infer U)[] ? Plain<U>[]
  : T extends object ? { [K in keyof T]: Plain<T[K]> }
  : T;
`;

function without(object, names) {
  return Object.fromEntries(Object.entries(object).filter(([name]) => !names.includes(name)));
}

function declaration(name, type, value) {
  return `export const ${name}: Plain<${type}> = ${JSON.stringify(value, null, 1)};`;
}

function identifier(kind) {
  return kind.replace('-', '');
}

function source(dashboard) {
  const typed = structuredClone(dashboard);
  typed.annotations.list = typed.annotations.list.map((item) => without(item, UNTYPED.annotation));
  typed.templating.list = typed.templating.list.map((item) => without(item, UNTYPED.variable));
  const panels = dashboard.panels.filter((panel) => panel.type !== 'row');
  const kinds = [...new Set(panels.map((panel) => panel.type))];
  const unknown = kinds.filter((kind) => !(kind in KINDS));
  if (unknown.length > 0) {
    throw new Error(`no types for panels of the kind ${unknown.join(', ')}: add them to KINDS`);
  }
  const lines = [
    "import type { Dashboard } from '@grafana/schema';",
    ...kinds.map((kind) => `import type * as ${identifier(kind)} from '${RAW}/${KINDS[kind]}';`),
    PLAIN,
    declaration('dashboard', 'Dashboard', typed),
  ];
  for (const panel of panels) {
    const name = `panel${panel.id}`;
    lines.push(declaration(`${name}Options`, `${identifier(panel.type)}.Options`, panel.options));
    const custom = panel.fieldConfig.defaults.custom;
    if (custom !== undefined) {
      lines.push(declaration(`${name}Fields`, `${identifier(panel.type)}.FieldConfig`, custom));
    }
  }
  return lines.join('\n');
}

function diagnostics(files) {
  const options = {
    module: ts.ModuleKind.ESNext,
    moduleResolution: ts.ModuleResolutionKind.Bundler,
    noEmit: true,
    skipLibCheck: true,
    strict: true,
    target: ts.ScriptTarget.ES2022,
    types: [],
  };
  // The literals exist only in memory, in this directory, so that the compiler finds node_modules.
  const sources = new Map(
    files.map((file) => [
      join(HERE, `${basename(file, '.json')}.ts`),
      source(JSON.parse(readFileSync(file, 'utf8'))),
    ]),
  );
  const host = ts.createCompilerHost(options);
  const { fileExists, getSourceFile, readFile } = host;
  host.fileExists = (name) => sources.has(name) || fileExists(name);
  host.readFile = (name) => sources.get(name) ?? readFile(name);
  host.getSourceFile = (name, ...rest) =>
    sources.has(name)
      ? ts.createSourceFile(name, sources.get(name), options.target, true)
      : getSourceFile(name, ...rest);
  const program = ts.createProgram([...sources.keys()], options, host);
  return ts.getPreEmitDiagnostics(program);
}

const named = process.argv.slice(2).map((file) => resolve(file));
const files =
  named.length > 0
    ? named
    : readdirSync(DASHBOARDS)
        .filter((name) => name.endsWith('.json'))
        .map((name) => join(DASHBOARDS, name));
if (files.length === 0) {
  throw new Error(`${DASHBOARDS} contains no dashboards`);
}
const found = diagnostics(files);
if (found.length > 0) {
  const format = { getCanonicalFileName: (name) => name, getCurrentDirectory: () => HERE, getNewLine: () => '\n' };
  process.stderr.write(ts.formatDiagnostics(found, format));
  process.exit(1);
}
process.stdout.write(`${files.length} dashboards have the types of Grafana\n`);
