"use strict";
// Filters, sorts and shows what stands in the page. Works no statistics out: ratios, intervals and verdicts are looked up.
// Whatever comes from a record is set as text, never as markup.
(() => {
  const $ = (id) => document.getElementById(id);
  const read = (id) => JSON.parse($(id).textContent);
  const data = read("data");
  const charts = read("charts");

  const MOST_FACETS = 8;
  const FIRST_ROWS = 200;
  const ERRORS = 1; // of Vega: it warns of what is meant here, scales that several fields share
  const LABELS_PX = 150; // row names left of a chart
  const WIDE_PX = 900; // room for two columns of charts

  // Numbers as people read them: as bench/units.py has them.
  const DASH = "–";
  const known = (format) => (value) => (value === null || value === undefined ? DASH : format(value));
  const bare = (value) => [2, 1].map((digits) => value.toFixed(digits)).find((text) => text.length <= 4) ?? value.toFixed(0);
  const inUnits = (sizes) => (value) => {
    const texts = sizes.map(([unit, size]) => [bare(value / size), unit]);
    return (texts.find(([text]) => text < 1000) ?? texts.at(-1)).join(" ");
  };
  const seconds = known(inUnits([["µs", 1e-6], ["ms", 1e-3], ["s", 1]]));
  const ratio = known((value) => `${bare(value)}×`);
  const percent = known((value) => (value < 99.995 ? `${(100 * value).toFixed(value < 0.0995 ? 1 : 0)} %` : "> 9999 %"));
  const bytes = known((value) =>
    value / 2 ** 20 < 1023.95 ? `${(value / 2 ** 20).toFixed(1)} MiB` : `${(value / 2 ** 30).toFixed(2)} GiB`);
  const rate = known(inUnits([["kFLOP/s", 1e3], ["MFLOP/s", 1e6], ["GFLOP/s", 1e9], ["TFLOP/s", 1e12]]));
  const tokens = known((value) => inUnits([["", 1], ["k", 1e3], ["M", 1e6]])(value).trim());
  const count = known((value) => Math.round(value).toLocaleString("en"));
  const error = known((value) => value.toExponential(0).replace(/e([+-])(\d)$/, "e$10$2"));
  const between = (format, low, high) =>
    low === null || low === undefined ? DASH : `[${format(low)}, ${format(high)}]`;
  const percents = (low, high) =>
    low === null || low === undefined ? DASH : `${(100 * low).toFixed(0)} to ${(100 * high).toFixed(0)} %`;

  // The name of a group on a page of several results ends in the letter of its own.
  const withoutLetter = (label) => (data.results.length > 1 ? label.slice(0, label.lastIndexOf(" · ")) : label);
  const where = ({ device, threads, precision }) =>
    (device === "cpu" ? `cpu×${threads}` : device) + (precision === "float32" ? "" : ` ${precision}`);

  // Every cell, flat, with the group that it is of.
  const rows = data.groups.flatMap((group, number) =>
    group.rows.map((values, place) => ({
      ...Object.fromEntries(data.columns.map((name, index) => [name, values[index]])),
      fixed_s: group.fixed_s[place], place, number, group: group.label, result: group.result,
      run: data.results[group.result].letter, cell_group: withoutLetter(group.label),
    })));

  // The ratio of two rows of a group, looked up among the pairs: seen from the other side, signs and verdict turn round.
  const TURNED = { FASTER: "SLOWER", SLOWER: "FASTER" };
  function ratioOf(group, ours, theirs) {
    const [one, other] = [group.compared.indexOf(ours), group.compared.indexOf(theirs)];
    if (one < 0 || other < 0) return null;
    if (one === other) return { ratio: 1, ratio_low: 1, ratio_high: 1, verdict: "baseline", detectable: null };
    const [first, second] = one < other ? [one, other] : [other, one];
    const pair = group.ratios[(first * (2 * group.compared.length - first - 1)) / 2 + second - first - 1];
    if (!pair) return null;
    const [estimate, low, high, verdict, mde] = pair;
    const [ratio, ratio_low, ratio_high] = (one < other ? [estimate, low, high] : [-estimate, -high, -low]).map(Math.exp);
    const turned = one < other ? verdict : TURNED[verdict] ?? verdict;
    return { ratio, ratio_low, ratio_high, verdict: turned ?? "no verdict", detectable: mde };
  }

  // After how many calls a row is done sooner than another: as bench/analysis/break_even.py has it.
  function paysAfter(ours, theirs) {
    if (ours === theirs || ours.fixed_s === null || theirs.fixed_s === null) return null;
    if (ours.median_s >= theirs.median_s) {
      return ours.fixed_s < theirs.fixed_s && ours.median_s === theirs.median_s ? 0 : null;
    }
    return Math.max(0, (ours.fixed_s - theirs.fixed_s) / (theirs.median_s - ours.median_s));
  }

  const NOTHING = { ratio: null, ratio_low: null, ratio_high: null, verdict: null, detectable: null };
  const ofGroup = Map.groupBy(rows, (row) => row.number);
  for (const row of rows) Object.assign(row, { own_baseline: row.baseline, own_pays_after: row.pays_after });

  // Everything that is said against a baseline, against this one; in a group without it, against the group's own.
  function against(baseline) {
    data.groups.forEach((group, number) => {
      const own = ofGroup.get(number);
      const wanted = own.find((row) => row.implementation === baseline && group.compared.includes(row.place));
      const base = wanted ?? own.find((row) => row.implementation === row.own_baseline);
      for (const row of own) {
        Object.assign(row, (base && ratioOf(group, row.place, base.place)) ?? NOTHING);
        row.baseline = base?.implementation ?? null;
        row.pays_after = row.baseline === row.own_baseline ? row.own_pays_after : paysAfter(row, base);
      }
    });
  }

  // What stands in the table: name, text, value to sort by, and whether it stands to the left.
  const COLUMNS = [
    ["place", (row) => row.rank ?? "", (row) => Number.parseInt(row.rank ?? "", 10)],
    ["row", (row) => row.implementation, (row) => row.implementation, "left"],
    ["tier", (row) => row.tier, (row) => row.tier, "left"],
    ["workload", (row) => row.workload, (row) => row.workload, "left"],
    ["task", (row) => row.task, (row) => row.task, "left"],
    ["where", where, where, "left"],
    ...(data.results.length > 1 ? [["run", (row) => row.run, (row) => row.result, "left"]] : []),
    ["median", (row) => seconds(row.median_s), (row) => row.median_s],
    ["95 %", (row) => between(seconds, row.ci_low_s, row.ci_high_s), (row) => row.ci_high_s - row.ci_low_s],
    ["ratio", (row) => ratio(row.ratio), (row) => row.ratio],
    ["95 % of it", (row) => between(bare, row.ratio_low, row.ratio_high), (row) => row.ratio_high - row.ratio_low],
    ["verdict", (row) => row.verdict ?? DASH, (row) => row.verdict ?? "~", "left"],
    ["MDE", (row) => percent(row.detectable), (row) => row.detectable],
    ["per sequence", (row) => seconds(row.per_sequence_s), (row) => row.per_sequence_s],
    ["tokens/s", (row) => tokens(row.tokens_per_s), (row) => row.tokens_per_s],
    ["rate", (row) => rate(row.flops_per_s), (row) => row.flops_per_s],
    ["of the machine", (row) => percent(row.machine_share), (row) => row.machine_share],
    ["of its products", (row) => percent(row.bound_share), (row) => row.bound_share],
    ["95 % of that", (row) => percents(row.bound_share_low, row.bound_share_high), (row) => row.bound_share_low],
    ["import", (row) => seconds(row.import_s), (row) => row.import_s],
    ["build", (row) => seconds(row.build_s), (row) => row.build_s],
    ["compile", (row) => seconds(row.compile_s), (row) => row.compile_s],
    ["first call", (row) => seconds(row.first_call_s), (row) => row.first_call_s],
    ["break-even (calls)", (row) => count(row.pays_after), (row) => row.pays_after],
    ["peak memory", (row) => bytes(row.peak_bytes), (row) => row.peak_bytes],
    ["error", (row) => error(row.max_relative_error), (row) => row.max_relative_error],
    ["blocks", (row) => count(row.blocks), (row) => row.blocks],
    ["samples", (row) => count(row.samples), (row) => row.samples],
    ["preempted", (row) => count(row.disturbed), (row) => row.disturbed],
    ["far out", (row) => count(row.outliers), (row) => row.outliers],
    ["noticed", (row) => row.flags, (row) => row.flags, "left"],
  ];

  const FILTERS = [
    ["run", (row) => row.run], ["workload", (row) => row.workload], ["task", (row) => row.task],
    ["device", (row) => row.device], ["threads", (row) => String(row.threads)], ["precision", (row) => row.precision],
    ["tier", (row) => row.tier], ["framework", (row) => row.framework],
  ];

  const element = (name, text = "", attributes = {}) => {
    const made = document.createElement(name);
    made.textContent = text;
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    return made;
  };

  let chosen = {};
  let sorted = { column: null, descending: false };
  let limit = FIRST_ROWS;
  const views = new Map(); // what is drawn now, by the chart's name
  let drawing = 0; // counts; an older drawing stops where a newer one has begun

  function shownRows() {
    return rows.filter((row) => FILTERS.every(([name, of]) => !chosen[name] || of(row) === chosen[name]));
  }

  function inOrder(some) {
    if (sorted.column === null) return some;
    const of = COLUMNS[sorted.column][2];
    const sign = sorted.descending ? -1 : 1;
    const absent = (value) => value === null || value === undefined || Number.isNaN(value);
    return [...some].sort((one, other) => {
      const [a, b] = [of(one), of(other)];
      if (absent(a) || absent(b)) return absent(a) - absent(b); // what is not known comes last, either way round
      return sign * (typeof a === "string" ? a.localeCompare(b) : a - b);
    });
  }

  function fillTable(some) {
    const ordered = inOrder(some.filter((row) => row.median_s !== null));
    const body = document.createDocumentFragment();
    for (const row of ordered.slice(0, limit)) {
      const line = element("tr");
      if (row.verdict === "baseline") line.className = "baseline";
      if (row.tier === "bound") line.className = "bound";
      COLUMNS.forEach(([name, text, , side], index) => {
        const cell = element(index === 1 ? "th" : "td", text(row), index === 1 ? { scope: "row" } : {});
        cell.className = side ?? "";
        if (name === "verdict" && row.verdict) cell.classList.add(row.verdict.replace(" ", "-"));
        line.append(cell);
      });
      body.append(line);
    }
    document.querySelector("#table tbody").replaceChildren(body);
    $("more").hidden = ordered.length <= limit;
    $("more").textContent = `Show all ${ordered.length} rows, not only the first ${limit}`;
    document.querySelectorAll("#table thead th").forEach((head, index) => {
      const state = index !== sorted.column ? "none" : sorted.descending ? "descending" : "ascending";
      head.setAttribute("aria-sort", state);
    });
  }

  function fillUntimed(some) {
    const without = some.filter((row) => row.median_s === null);
    const body = document.createDocumentFragment();
    for (const row of without.slice(0, limit)) {
      const line = element("tr");
      line.append(element("th", row.implementation, { scope: "row", class: "left" }));
      line.append(element("td", row.group, { class: "left" }), element("td", row.status.replaceAll("_", " "), { class: "left" }));
      line.append(element("td", row.reason ?? "", { class: "words" }));
      body.append(line);
    }
    document.querySelector("#untimed tbody").replaceChildren(body);
    $("untimed").hidden = without.length === 0;
  }

  // Words that a chart shows where the pointer rests.
  const worded = (one) => ({
    ...one,
    time: seconds(one.median_s ?? one.time_s),
    interval: between(seconds, one.ci_low_s ?? one.low_s, one.ci_high_s ?? one.high_s),
    ratio_words: `${ratio(one.ratio)} ${between(bare, one.ratio_low, one.ratio_high)}`,
    spent_words: seconds(one.seconds),
    change_words: `${ratio(one.change)} ${between(bare, one.change_low, one.change_high)}`,
  });

  function linesOf(some) {
    const timed = some.filter((row) => row.median_s !== null);
    return timed.filter((row) => row.tier !== "bound").map((row) => ({
      ...row,
      bound_flops_per_s: row.bound_share ? row.flops_per_s / row.bound_share : null,
      rate: rate(row.flops_per_s),
      bound_words: `${percent(row.bound_share)} of its products' rate`,
      machine_words: `${percent(row.machine_share)} of the machine's ${rate(row.machine_flops_per_s)}`,
      memory: bytes(row.peak_bytes),
      fixed: seconds(row.fixed_s),
      pays_after_words: `${count(row.pays_after)} calls`,
    }));
  }

  // Whether a datum agrees with every filter that it has a field for.
  const fits = (one) => FILTERS.every(([name]) => {
    const own = name === "run" ? data.results[one.result]?.letter : one[name];
    return !chosen[name] || own === null || own === undefined || String(own) === chosen[name];
  });

  function datasetsOf(some) {
    const names = new Set(some.map((row) => `${row.implementation.split("@")[0]} ${row.cell_group}`));
    const { points, maps, moments, machines, drift, spent } = data.datasets;
    const seen = (one) => names.has(`${one.implementation} ${one.cell_group}`);
    const made = {
      lines: linesOf(some),
      points: points.filter(fits),
      maps: maps.filter(fits),
      moments: moments.filter(seen),
      machines: machines.filter(seen),
      drift: drift.filter(fits),
      spent: spent.filter(fits),
    };
    return Object.fromEntries(Object.entries(made).map(([name, some]) => [name, some.map(worded)]));
  }

  const inSight = (chart) => {
    const { top, bottom } = $(chart.name).getBoundingClientRect();
    return !$(chart.name).hidden && bottom > 0 && top < innerHeight;
  };

  // What the reader looks at is drawn first. `data-shown` and `data-drawn` count how often that and all was done, and
  // marks say when: `asked-1`, `shown-1`, `drawn-1`, …
  async function drawAll(some) {
    const mine = ++drawing;
    const datasets = datasetsOf(some);
    const room = $("contents").clientWidth;
    const columns = room >= WIDE_PX ? 2 : 1;
    const seen = charts.filter(inSight);
    const first = seen.length ? seen : charts.slice(0, 1);
    const tally = (what) => {
      if (document.body.dataset[what] === String(mine)) return;
      document.body.dataset[what] = String(mine);
      performance.mark(`${what}-${mine}`);
    };
    for (const chart of [...first, ...charts.filter((one) => !first.includes(one))]) {
      if (!first.includes(chart)) tally("shown");
      const figure = $(chart.name);
      const all = datasets[chart.data].filter((one) => chart.needs.every((name) => one[name] !== null && one[name] !== undefined));
      figure.hidden = all.length === 0;
      document.querySelector(`#contents [href="#${chart.name}"]`).parentElement.hidden = all.length === 0;
      const place = figure.querySelector(".chart");
      views.get(chart.name)?.finalize();
      views.delete(chart.name);
      if (all.length === 0) { place.replaceChildren(); continue; }
      const facets = [...new Set(all.map((one) => one[chart.facet]))];
      const kept = facets.slice(0, MOST_FACETS);
      figure.querySelector(".note").textContent = facets.length > MOST_FACETS
        ? `The first ${MOST_FACETS} of ${facets.length} are drawn; choose less above to see the others.` : "";
      const spec = structuredClone(chart.spec);
      spec.datasets = {
        [chart.data]: all.map((one) => ({ ...one, facet_order: kept.indexOf(one[chart.facet]) })).filter((one) => one.facet_order >= 0),
      };
      spec.columns = columns;
      spec.spec.width = Math.max(120, Math.floor((room - 24 * (columns - 1)) / columns) - LABELS_PX - 20);
      if (room < 600) Object.assign(spec.config.legend, { columns: 2, layout: { top: { direction: "vertical" } } });
      await new Promise((resume) => setTimeout(resume)); // the page stays quick to answer
      if (mine !== drawing) return;
      const fresh = element("div");
      try {
        const made = await vegaEmbed(fresh, spec, { actions: false, renderer: "svg", ast: true, logLevel: ERRORS, tooltip: { theme: "custom" } });
        if (mine !== drawing) { made.finalize(); return; }
        views.set(chart.name, made);
      } catch (problem) {
        console.error(problem);
        fresh.textContent = "This chart cannot be drawn; the table has its numbers.";
      }
      place.replaceChildren(fresh);
    }
    tally("shown");
    tally("drawn");
  }

  function show() {
    performance.mark(`asked-${drawing + 1}`);
    against(chosen.baseline ?? "");
    const some = shownRows();
    const groups = new Set(some.map((row) => row.number)).size;
    $("shown").textContent = `${some.length} of ${rows.length} cells, in ${groups} of ${data.groups.length} groups`
      + (chosen.baseline ? `; ratios are to ${chosen.baseline}, or where it has no time to the run's own baseline` : "");
    fillTable(some);
    fillUntimed(some);
    return drawAll(some);
  }

  function addSelect(name, values, all, words = (value) => value) {
    const select = element("select", "", { name, id: `filter-${name}` });
    select.append(element("option", all, { value: "" }), ...values.map((value) => element("option", words(value), { value })));
    const choice = element("div", "", { class: "choice" });
    choice.append(element("label", name, { for: select.id }), select);
    $("choices").append(choice);
  }

  const named = (letter) => `${letter}: ${data.results.find((one) => one.letter === letter).name}`;

  function setUp() {
    for (const [name, of] of FILTERS) {
      const values = [...new Set(rows.map(of))];
      if (values.length > 1) addSelect(name, values, "all", name === "run" ? named : undefined);
    }
    const bases = [...new Set(rows.filter((row) => data.groups[row.number].compared.includes(row.place)).map((row) => row.implementation))];
    addSelect("baseline", bases.sort(), data.results.length > 1 ? "each run's own" : data.results[0].baseline);
    const form = $("filters");
    form.addEventListener("change", () => {
      chosen = Object.fromEntries([...new FormData(form)].filter(([, value]) => value));
      limit = FIRST_ROWS;
      show();
    });
    form.addEventListener("submit", (event) => event.preventDefault());
    form.addEventListener("reset", () => { chosen = {}; limit = FIRST_ROWS; show(); });

    for (const chart of charts) addContents(chart.name, chart.title);
    addContents("table", "Every number");
    addContents("repeat", "The machine, the command, the raw records");

    const head = element("tr");
    COLUMNS.forEach(([name, , , side], index) => {
      const cell = element("th", "", { scope: "col", class: side ?? "" });
      const button = element("button", name, { type: "button" });
      button.addEventListener("click", () => {
        sorted = { column: index, descending: sorted.column === index && !sorted.descending };
        fillTable(shownRows());
      });
      cell.append(button);
      head.append(cell);
    });
    document.querySelector("#table thead").append(head);
    const heads = element("tr");
    for (const name of ["row", "group", "status", "why"]) heads.append(element("th", name, { scope: "col", class: "left" }));
    document.querySelector("#untimed thead").append(heads);
    $("more").addEventListener("click", () => { limit = Infinity; fillTable(shownRows()); fillUntimed(shownRows()); });
    $("csv").addEventListener("click", () => save("table.csv", "text/csv", csvOf(inOrder(shownRows()))));
    data.results.forEach(addResult);

    addEventListener("beforeprint", () => { limit = Infinity; fillTable(shownRows()); });
    let width = $("contents").clientWidth;
    new ResizeObserver(() => {
      const now = $("contents").clientWidth;
      if (now === 0 || Math.abs(now - width) < 40) return; // 0 on paper, where it is not shown
      width = now;
      drawAll(shownRows());
    }).observe(document.body);
  }

  function addContents(name, title) {
    const item = element("li");
    item.append(element("a", title, { href: `#${name}` }));
    $("contents").append(item);
  }

  function csvOf(some) {
    const names = [...data.columns, "fixed_s", "run"];
    const quoted = (value) => {
      const text = value === null || value === undefined ? "" : String(value);
      return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
    };
    return [names, ...some.map((row) => names.map((name) => row[name]))]
      .map((line) => line.map(quoted).join(",")).join("\r\n") + "\r\n";
  }

  function save(name, type, content) {
    const link = element("a", "", { href: URL.createObjectURL(new Blob([content], { type })), download: name });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  }

  async function unpacked(id) {
    const packed = Uint8Array.from(atob($(id).textContent), (letter) => letter.charCodeAt(0));
    return new Response(new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"))).blob();
  }

  function addResult(result, number) {
    const article = element("article", "", { "aria-label": result.name });
    article.append(element("h3", data.results.length > 1 ? `${result.letter}: ${result.name}` : result.name));
    if (result.doubt) article.append(element("p", result.doubt, { class: "doubt" }));
    article.append(element("p", `${result.started_at}. ${result.end}; ${result.control}.`));
    const [commit, changes] = result.facts.commit.split(", ");
    article.append(element("p", changes || commit === "none" ? "It was made by code that no commit has, with:" : "To repeat it:"));
    const checkout = changes || commit === "none" ? [] : [`git checkout ${commit}`];
    article.append(element("pre", [...checkout, result.command].join("\n")));
    const buttons = element("p");
    for (const file of ["records.jsonl", "run.json"]) {
      const button = element("button", `Save ${file}`, { type: "button", "data-file": file, "data-result": number });
      button.addEventListener("click", async () => save(file, "application/json", await unpacked(`${file}-${number}`)));
      buttons.append(button, " ");
    }
    article.append(buttons);
    const facts = element("dl");
    for (const [name, value] of [...Object.entries(result.facts), ...Object.entries(result.workloads)]) {
      facts.append(element("dt", name), element("dd", value));
    }
    article.append(facts);
    $("results").append(article);
  }

  setUp();
  show();
})();
