"""Report on a run: its sections, tables and charts as data, and their text as HTML and Markdown.

It needs only the standard library and uses relative imports, because the client links this
directory. It performs no I/O; the program that writes the report renders the charts.
"""
