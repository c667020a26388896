/** Looks of the page: one accent, two themes, one column on a phone. */
export const PAGE_CSS = `
:root {
  color-scheme: light dark;
  --ground: #f7f7f5; --surface: #ffffff; --line: #e3e3df; --track: #e9e9e5;
  --ink: #1b1f23; --soft: #5b636b; --accent: #0f766e; --accent-soft: #0f766e1f;
  --warn: #a15c07; --warn-soft: #fdf3e1; --error: #b42318; --error-soft: #fdecea;
  --mono: ui-monospace, "SF Mono", "Cascadia Mono", "DejaVu Sans Mono", Menlo, Consolas, monospace;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ground: #121517; --surface: #1a1e21; --line: #2c3236; --track: #2c3236;
    --ink: #e8eaec; --soft: #9da7ae; --accent: #4fc3b5; --accent-soft: #4fc3b526;
    --warn: #e8b155; --warn-soft: #2b2415; --error: #f4897f; --error-soft: #2f1b1a;
  }
}
*, *::before, *::after { box-sizing: border-box; }
[hidden] { display: none !important; }
html { -webkit-text-size-adjust: 100%; }
body {
  margin: 0 auto; max-width: 76rem; padding: 1.25rem clamp(1rem, 3vw, 2.5rem) 3rem;
  background: var(--ground); color: var(--ink);
  font: 400 1rem/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif;
  font-variant-numeric: tabular-nums;
}
h1, h2, h3, p, dl, dd, ul, ol, figure { margin: 0; padding: 0; }
ul, ol { list-style: none; }
a { color: var(--accent); text-underline-offset: 0.2em; }
:focus-visible { outline: 2px solid var(--accent); outline-offset: 3px; border-radius: 4px; }
section:focus { outline: none; }
.quiet { color: var(--soft); }
.names, code { font-family: var(--mono); font-size: 0.86em; overflow-wrap: anywhere; unicode-bidi: isolate; }
.number { text-align: right; white-space: nowrap; }
.skip { position: absolute; left: -100vw; }
.skip:focus { left: 1rem; top: 0.5rem; background: var(--surface); padding: 0.5rem 0.75rem; z-index: 1; }

header { display: flex; flex-wrap: wrap; align-items: baseline; gap: 0.25rem 1.25rem; margin-bottom: 1.25rem; }
h1 { font-size: 1.05rem; font-weight: 650; letter-spacing: -0.01em; }
#route { color: var(--soft); flex: 1 1 18rem; min-width: 0; }
#contact { color: var(--soft); font-size: 0.86rem; display: flex; align-items: center; gap: 0.5rem; }
.dot { width: 0.5rem; height: 0.5rem; border-radius: 50%; background: var(--accent); }
.stale .dot { background: var(--error); }
.stale main > * { opacity: 0.55; }
/* What a daemon said last of why it ended is not old. */
.stale.ended #now, .stale.ended #notices { opacity: 1; }
main > * { transition: opacity 0.3s; }
.lost { background: var(--error-soft); color: var(--error); border-radius: 8px; padding: 0.75rem 1rem; margin-bottom: 1rem; }

section { margin-bottom: 2rem; }
h2 { font-size: 0.94rem; font-weight: 600; margin-bottom: 0.75rem; }
#now, .card, #notices li, #wal, #tables, #batches {
  background: var(--surface); border: 1px solid var(--line); border-radius: 12px; padding: 1.25rem clamp(1rem, 2vw, 1.5rem);
}
#state {
  display: inline-flex; align-items: center; gap: 0.5rem; margin-bottom: 0.6rem; padding: 0.15rem 0.7rem 0.15rem 0.6rem;
  border-radius: 99px; background: var(--accent-soft); color: var(--accent); font-size: 0.86rem; font-weight: 600;
}
#state::before { content: ""; width: 0.5rem; height: 0.5rem; border-radius: 50%; background: currentColor; }
#now.warn #state { background: var(--warn-soft); color: var(--warn); }
#now.error #state { background: var(--error-soft); color: var(--error); }
#summary { font-size: clamp(1.1rem, 0.98rem + 0.6vw, 1.3rem); line-height: 1.4; letter-spacing: -0.01em; max-width: 68ch; overflow-wrap: anywhere; text-wrap: pretty; }
#figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(9.5rem, 1fr)); gap: 1rem 1.5rem; margin-top: 1.5rem; padding-top: 1.25rem; border-top: 1px solid var(--line); }
#figures dt { color: var(--soft); font-size: 0.86rem; }
#figures dd { font-size: 1.45rem; font-weight: 600; letter-spacing: -0.015em; line-height: 1.35; white-space: nowrap; }
#figures dd + dd { font-size: 0.86rem; font-weight: 400; letter-spacing: 0; color: var(--soft); white-space: normal; }

#notices ul { display: grid; gap: 0.6rem; }
#notices li { padding-block: 0.9rem; overflow-wrap: anywhere; }
#notices li { display: grid; grid-template-columns: 1fr auto; gap: 0.15rem 1.5rem; align-items: baseline; }
#notices li p:first-child { grid-column: 1 / -1; }
#notices .when { grid-column: 2; }
#notices .level { font-weight: 600; }
#notices .warn { background: var(--warn-soft); border-color: transparent; }
#notices .warn .level { color: var(--warn); }
#notices .error { background: var(--error-soft); border-color: transparent; }
#notices .error .level { color: var(--error); }
#notices .when { color: var(--soft); font-size: 0.86rem; }

.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 19rem), 1fr)); gap: 1rem; }
.card { padding: 1rem 1rem 0.5rem; min-width: 0; }
figcaption { display: grid; font-size: 0.86rem; margin-bottom: 0.5rem; }
figcaption span:first-child { font-weight: 600; }
figcaption span:last-child { color: var(--soft); }
.plot { height: 9.5rem; }
.uplot { font-family: inherit; }
.u-select { background: var(--accent-soft); }

.bar { height: 0.5rem; border-radius: 99px; background: var(--track); overflow: hidden; }
.bar span { display: block; height: 100%; width: 0; border-radius: inherit; background: var(--accent); transition: width 0.4s; }
.bar.warn span { background: var(--warn); }
.bar.error span { background: var(--error); }
#wal-text { margin-top: 0.6rem; }
#copy-all { margin-bottom: 0.75rem; }
#copy-all p { color: var(--soft); font-size: 0.86rem; margin-top: 0.35rem; }

.heading { display: flex; flex-wrap: wrap; align-items: baseline; gap: 0.25rem 1rem; margin-bottom: 0.75rem; }
.heading h2 { margin: 0; }
.heading p { color: var(--soft); font-size: 0.86rem; flex: 1; }
.filter { font-size: 0.86rem; color: var(--soft); display: flex; align-items: center; gap: 0.5rem; }
input { font: inherit; color: var(--ink); background: var(--ground); border: 1px solid var(--soft); border-radius: 8px; padding: 0.35rem 0.65rem; width: 12rem; max-width: 100%; }
input::placeholder { color: var(--soft); opacity: 1; }
table { width: 100%; border-collapse: collapse; font-size: 0.92rem; }
th { text-align: left; font-weight: 500; color: var(--soft); font-size: 0.86rem; padding: 0.35rem 0.75rem 0.35rem 0; border-bottom: 1px solid var(--line); }
td { padding: 0.5rem 0.75rem 0.5rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
tr:last-child td { border-bottom: 0; }
th:last-child, td:last-child { padding-right: 0; }
th.number { text-align: right; }
td:nth-child(2) { width: 24%; min-width: 7rem; }
td .bar { margin-top: 0.3rem; }
td small { display: block; color: var(--warn); font-size: 0.86rem; overflow-wrap: anywhere; }
#tables-more { font-size: 0.86rem; margin-top: 0.75rem; }
#not-captured { margin-top: 0.75rem; }
#not-captured li { padding: 0.25rem 0; overflow-wrap: anywhere; }
summary { cursor: pointer; }

#batches li + li { border-top: 1px solid var(--line); }
#batches summary { display: grid; grid-template-columns: 1rem 5.5rem 5.5rem 1fr 1fr 1fr 1fr; gap: 0 0.75rem; padding: 0.55rem 0; list-style: none; font-size: 0.92rem; }
#batches summary::-webkit-details-marker { display: none; }
#batches summary::before { content: "▸"; color: var(--soft); transition: transform 0.15s; }
#batches details[open] summary::before { transform: rotate(90deg); }
#batches summary span { text-align: right; white-space: nowrap; }
#batches summary span:nth-child(1), #batches summary span:nth-child(2) { text-align: left; }
#batches summary span:first-child { font-weight: 600; }
#batches ul { padding: 0 0 0.75rem 1.75rem; font-size: 0.92rem; }
#batches ul li { border: 0; padding: 0.2rem 0; display: flex; flex-wrap: wrap; justify-content: space-between; gap: 0 1rem; }
#batches ul li span:last-child { color: var(--soft); margin-left: auto; }

footer { color: var(--soft); font-size: 0.86rem; display: grid; gap: 0.75rem; }
#facts { display: flex; flex-wrap: wrap; gap: 0.25rem 1.5rem; }
#facts div { display: flex; align-items: baseline; gap: 0.5rem; }
nav { display: flex; gap: 1rem; }

@media (max-width: 40rem) {
  .heading .filter { flex: 1 1 100%; }
  .filter input { flex: 1; width: auto; min-width: 0; }
  #figures { grid-template-columns: 1fr 1fr; }
  #figures dd { font-size: 1.2rem; white-space: normal; }
  #notices li { grid-template-columns: 1fr; }
  #notices .when { grid-column: 1; }
  table, tbody { display: block; }
  thead { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
  tbody tr { display: grid; grid-template-columns: 1fr auto auto; gap: 0.1rem 0.9rem; padding: 0.6rem 0; border-bottom: 1px solid var(--line); }
  tbody tr:last-child { border-bottom: 0; }
  td, td:nth-child(2) { padding: 0; border: 0; width: auto; min-width: 0; }
  td:first-child { grid-column: 1 / -1; }
  tr.copying td:nth-child(2) { grid-column: 1 / -1; }
  tr.copying td.rows { grid-column: 2; }
  td.rows::after { content: " rows"; color: var(--soft); }
  #batches summary { grid-template-columns: 0.8rem minmax(0, 1fr) auto auto; gap: 0 0.6rem; }
  #batches summary span:nth-child(n + 4) { grid-column: span 1; color: var(--soft); }
  #batches summary span:nth-child(4) { grid-column: 2; text-align: left; white-space: normal; }
  #batches ul { padding-left: 1.25rem; }
}
@media (prefers-reduced-motion: reduce) {
  * { transition: none !important; animation: none !important; }
}
@media (forced-colors: active) {
  .bar { border: 1px solid; }
  .bar span { background: Highlight; }
}
`;
