/** The page without data. Paths are relative, so that it also works below a path of a reverse proxy. */
export const PAGE_HTML = `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>pgstage</title>
<link rel="icon" href="data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E%3Crect width='16' height='16' rx='4' fill='%230f766e'/%3E%3Cpath d='M4 11h8M4 8h6M4 5h4' stroke='%23fff' stroke-width='1.6' stroke-linecap='round'/%3E%3C/svg%3E">
<link rel="stylesheet" href="assets/uplot.css">
<link rel="stylesheet" href="assets/style.css">
<script src="assets/uplot.js" defer></script>
<script type="module" src="assets/page/main.js"></script>
</head>
<body>
<a class="skip" href="#tables">Skip to the tables</a>
<header>
  <h1>pgstage</h1>
  <p id="route" class="names"></p>
  <p id="contact"><span class="dot" aria-hidden="true"></span><span id="contact-text">Connecting…</span></p>
</header>
<noscript><p class="lost">This page needs JavaScript. The same facts are at <a href="status">/status</a> as JSON.</p></noscript>
<p id="lost" class="lost" role="alert" hidden></p>
<main>
  <section id="now" aria-labelledby="state">
    <h2 id="state" role="status">…</h2>
    <p id="summary"></p>
    <dl id="figures"></dl>
  </section>
  <section id="notices" aria-labelledby="notices-title" hidden>
    <h2 id="notices-title">To know and to do</h2>
    <ul></ul>
  </section>
  <section id="charts" aria-labelledby="charts-title">
    <h2 id="charts-title">History</h2>
    <div class="charts"></div>
  </section>
  <section id="wal" aria-labelledby="wal-title">
    <h2 id="wal-title">WAL kept at the source</h2>
    <div id="wal-meter" class="bar" role="meter" aria-labelledby="wal-title" aria-valuemin="0" aria-valuemax="100"><span></span></div>
    <p id="wal-text"></p>
  </section>
  <section id="tables" aria-labelledby="tables-title" tabindex="-1">
    <div class="heading">
      <h2 id="tables-title">Tables</h2>
      <p id="tables-counts"></p>
      <label class="filter"><span>Filter</span> <input id="filter" type="search" placeholder="schema.table" autocomplete="off" spellcheck="false"></label>
    </div>
    <div id="copy-all" hidden><div class="bar" role="progressbar" aria-label="Progress of all copies" aria-valuemin="0" aria-valuemax="100"><span></span></div><p></p></div>
    <table role="table">
      <thead role="rowgroup"><tr role="row"><th role="columnheader" scope="col">Table</th><th role="columnheader" scope="col">Copy</th><th role="columnheader" scope="col" class="number">Rows</th><th role="columnheader" scope="col" class="number">Stored</th></tr></thead>
      <tbody role="rowgroup"></tbody>
    </table>
    <p id="tables-more" class="quiet" role="status"></p>
    <details id="not-captured" hidden><summary></summary><ul></ul></details>
  </section>
  <section id="batches" aria-labelledby="batches-title">
    <h2 id="batches-title">Latest batches</h2>
    <ol></ol>
    <p class="quiet" id="batches-none"></p>
  </section>
</main>
<footer>
  <dl id="facts"></dl>
  <nav aria-label="Machine-readable"><a href="status">status</a> <a href="metrics">metrics</a> <a href="healthz">healthz</a> <a href="readyz">readyz</a></nav>
</footer>
</body>
</html>
`;
