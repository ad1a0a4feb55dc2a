"""The look of a report's page, light or dark as the reader's system is."""

STYLE = """
:root { color-scheme: light dark; --paper: #fbfbfa; --card: #ffffff; --ink: #1d2126; --faint: #59616b; --line: #d9dde2;
  --c0: #2f6db3; --c1: #c2562f; --c2: #2a8567; --c3: #8458b3; --c4: #99720d; --c5: #5b6571; }
@media (prefers-color-scheme: dark) { :root { --paper: #15181c; --card: #1c2026; --ink: #e6e8eb; --faint: #a3abb5;
  --line: #353c45; --c0: #6ba5e7; --c1: #ef8b62; --c2: #5cc2a0; --c3: #b794e0; --c4: #d9b04a; --c5: #98a2ae; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 16px/1.5 system-ui, sans-serif; }
main { max-width: 60rem; margin: 0 auto; padding: 2rem 1.25rem 4rem; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0 0 .75rem; }
h2 { font-size: 1.25rem; margin: 2.5rem 0 .75rem; }
h3 { font-size: 1rem; margin: 1.5rem 0 .5rem; }
.wide { overflow-x: auto; background: var(--card); border: 1px solid var(--line); border-radius: 8px; }
table { border-collapse: collapse; width: 100%; font-size: .9rem; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .5rem .75rem; border-bottom: 1px solid var(--line); vertical-align: top; }
thead th { color: var(--faint); font-weight: 600; white-space: nowrap; }
tbody th { font-weight: 600; white-space: nowrap; }
td:not(:last-child) { white-space: nowrap; }
tbody tr:last-child > * { border-bottom: 0; }
details { margin-top: 1rem; }
summary { cursor: pointer; color: var(--faint); }
dt { font-weight: 600; margin-top: .5rem; }
dd { margin: 0; }
figure { margin: 0 0 1.25rem; }
figcaption { color: var(--faint); font-size: .85rem; margin-top: .35rem; overflow-wrap: anywhere; }
main > figure { background: var(--card); border: 1px solid var(--line); border-radius: 8px; padding: 1rem; }
.plot { overflow-x: auto; }
svg { display: block; width: 100%; min-width: 40rem; height: auto; }
svg text { fill: var(--faint); font: 12px system-ui, sans-serif; paint-order: stroke; stroke: var(--card);
  stroke-width: 3px; }
svg .grid { stroke: var(--line); stroke-width: 1; }
.c0 { fill: var(--c0); } .c1 { fill: var(--c1); } .c2 { fill: var(--c2); }
.c3 { fill: var(--c3); } .c4 { fill: var(--c4); } .c5 { fill: var(--c5); }
.k0 { background: var(--c0); } .k1 { background: var(--c1); } .k2 { background: var(--c2); }
.k3 { background: var(--c3); } .k4 { background: var(--c4); } .k5 { background: var(--c5); }
.legend { display: flex; flex-wrap: wrap; gap: .25rem 1.25rem; list-style: none; margin: .5rem 0 0; padding: 0;
  font-size: .85rem; }
.key { display: inline-block; width: .8em; height: .8em; border-radius: 2px; margin-right: .4em; }
.trio { display: grid; grid-template-columns: repeat(auto-fit, minmax(15rem, 1fr)); gap: 1rem; }
.trio img { display: block; width: 100%; height: auto; border-radius: 6px; }
.players { display: flex; flex-wrap: wrap; gap: 1rem 2rem; }
.players label { display: grid; gap: .25rem; color: var(--faint); font-size: .85rem; }
"""
