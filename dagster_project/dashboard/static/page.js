// The page: it asks once for all sections, then listens for what changes. Each section is drawn by one function from its data;
// nothing is drawn anew that is already right, so focus, selection and a reader's place stay where they are.

const SVG = "http://www.w3.org/2000/svg";
const byId = (id) => document.getElementById(id);

// ---- Building and updating -----------------------------------------------------------------------------------------

/** An element with attributes and children; text is text, whatever is in it. */
function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) attr(node, name, value);
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

function attr(node, name, value) {
  if (value === null || value === undefined || value === false) node.removeAttribute(name);
  else if (node.getAttribute(name) !== String(value)) node.setAttribute(name, value === true ? "" : value);
}

function text(node, value) {
  if (node.textContent !== value) node.textContent = value;
}

/** Puts children in place of the present ones, unless they look the same: then those stay, with focus and selection. */
function fill(node, ...children) {
  const wanted = el("div", {}, ...children.flat());
  if (node.innerHTML !== wanted.innerHTML) morph(node, wanted);
}

function morph(node, wanted) {
  const [now, next] = [[...node.childNodes], [...wanted.childNodes]];
  next.forEach((child, index) => {
    const old = now[index];
    if (old === undefined) node.append(child);
    else if (old.nodeType !== child.nodeType || old.nodeName !== child.nodeName || keyOf(old) !== keyOf(child)) old.replaceWith(child);
    else if (child.nodeType === Node.TEXT_NODE) text(old, child.textContent);
    else {
      for (const { name } of [...old.attributes]) if (!child.hasAttribute(name) && !OURS.has(name)) old.removeAttribute(name);
      for (const { name, value } of child.attributes) attr(old, name, value);
      morph(old, child);
    }
  });
  now.slice(next.length).forEach((child) => child.remove());
}

// What a reader has opened, and lengths, stay.
const OURS = new Set(["open", "style"]);
const keyOf = (node) => (node.nodeType === Node.ELEMENT_NODE ? node.dataset?.key ?? "" : "");

/** A table with its roles spelled out: it stays one for screen readers where narrow screens lay it out as cards. */
function table({ caption, columns, rows, kind = "stack" }) {
  const head = el("tr", { role: "row" }, ...columns.map((column) => el("th", { role: "columnheader", scope: "col", class: column.right ? "r" : null }, column.label)));
  const body = rows.map((cells) =>
    el("tr", { role: "row" }, ...cells.map((cell, index) => {
      const first = index === 0;
      const { label, right } = columns[index];
      return el(first ? "th" : "td", { role: first ? "rowheader" : "cell", scope: first ? "row" : null, class: right ? "r num" : null, "data-label": first ? null : label }, ...[cell].flat());
    })),
  );
  return el("table", { role: "table", class: kind }, el("caption", { class: "unseen" }, caption), el("thead", { role: "rowgroup" }, head), el("tbody", { role: "rowgroup" }, ...body));
}

const small = (...children) => el("span", { class: "small" }, ...children);
const bold = (value) => el("b", { class: "num" }, value);
const sign = (state, words) => el("span", { class: `sign ${state}` }, words);
const empty = (title, words) => el("p", { class: "empty" }, el("strong", {}, title), words);

// ---- Words for numbers and times -----------------------------------------------------------------------------------

const whole = new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 });
const fine = new Intl.NumberFormat("en-US", { maximumFractionDigits: 2 });
const brief = new Intl.NumberFormat("en-US", { notation: "compact", maximumFractionDigits: 1 });

const count = (value) => whole.format(value);
const plural = (value, one, many = `${one}s`) => `${count(value)} ${value === 1 ? one : many}`;
const percent = (share) => `${share >= 0.9995 || share === 0 ? (share * 100).toFixed(0) : (share * 100).toFixed(Math.abs(share) < 0.1 ? 2 : 1)} %`;
const rate = (value) => (value === 0 ? "0" : value < 10 ? fine.format(Number(value.toPrecision(2))) : count(value));

function dollars(value) {
  if (value === 0) return "0";
  if (value >= 0.01) return value.toFixed(2);
  return value < 1e-6 ? "< 0.000001" : value.toFixed(6).replace(/0+$/, "");
}

function duration(seconds) {
  const s = Math.abs(seconds);
  if (s < 1) return `${Math.round(s * 1000)} ms`;
  if (s < 60) return `${s < 10 ? s.toFixed(1) : Math.round(s)} s`;
  for (const [length, unit, within, inner] of [[86_400, "d", 3600, "h"], [3600, "h", 60, "min"], [60, "min", 1, "s"]]) {
    if (s < length) continue;
    const rest = Math.floor((s % length) / within);
    return `${Math.floor(s / length)} ${unit}${rest ? ` ${rest} ${inner}` : ""}`;
  }
  return "";
}

const clock = (moment) => new Date(moment).toISOString().slice(11, 19);
const minute = (moment) => new Date(moment).toISOString().slice(11, 16);
/** A time of today as its time, another one with its date. */
function when(moment) {
  const iso = new Date(moment).toISOString();
  return iso.slice(0, 10) === new Date().toISOString().slice(0, 10) ? iso.slice(11, 19) : `${iso.slice(0, 10)} ${iso.slice(11, 16)}`;
}
const ago = (moment) => duration(Math.max(0, (Date.now() - Date.parse(moment)) / 1000));

// ---- What is known -------------------------------------------------------------------------------------------------

const known = { id: "", at: null, sections: {} };
// Which source each section comes from.
const SOURCE = { flow: "tables", rejected: "tables", held: "tables", rates: "commits", windows: "windows", charts: "charts", levels: "levels", latency: "levels", alerts: "alerts", cost: "costs", cache: "cache" };
const NAMES = { topics: "The broker", tables: "The lake's tables", commits: "The tables' logs", windows: "The windows", charts: "The marts", levels: "Service levels", alerts: "Alerts", costs: "Costs", cache: "The cache", page: "The page" };

function take(document_) {
  const first = !known.id;
  known.id = document_.id;
  known.at = document_.at;
  Object.assign(known.sections, document_.sections);
  text(byId("at"), known.at ? clock(known.at) : "–");
  const changed = new Set(Object.keys(document_.sections));
  const draw = (...names) => first || names.some((name) => changed.has(name));
  const all = known.sections;
  if (draw("about")) about(all.about);
  if (draw("sources", "cache", "flow", "charts")) banners(all);
  if (draw("flow", "levels", "rates", "rejected", "cost", "sources")) tiles(all);
  if (draw("alerts", "flow", "levels", "cache", "sources")) verdict(all);
  if (draw("alerts")) alerts(all);
  if (draw("flow", "troubles")) flow(all);
  if (draw("levels")) levels(all);
  if (draw("charts")) charts(all);
  if (draw("rates")) rates(all);
  if (draw("latency")) latency(all);
  if (draw("windows")) windows(all);
  if (draw("rejected")) rejected(all);
  if (draw("held")) held(all);
  if (draw("cost")) cost(all);
  if (draw("cache")) cache(all);
  age(all.sources);
}

/** Says under each heading since when its figures are old. */
function age(sources) {
  for (const [section, source] of Object.entries(SOURCE)) {
    const seen = sources?.[source];
    const card = byId(section);
    if (!card || !seen) continue;
    const stale = Boolean(seen.failing_since) && section !== "cache";
    card.classList.toggle("old", stale);
    if (stale) text(byId(`${section}-note`), seen.at ? `as of ${when(seen.at)}; ${seen.error}` : `never seen; ${seen.error}`);
    else if (card.dataset.stale) text(byId(`${section}-note`), "");
    card.dataset.stale = stale ? "1" : "";
  }
}

function about({ project }) {
  text(byId("project"), project);
  document.title = `${project}, live`;
}

// ---- What is announced: changes of state, never figures ------------------------------------------------------------

const told = new Map();

function announce(words) {
  text(byId("news"), words);
}

/** Notes a state by name; says the words when it has changed, but not when the page opens. */
function note(name, state, words) {
  const before = told.get(name);
  told.set(name, state);
  if (before !== undefined && before !== state) announce(words);
}

// ---- Above all: what is not as it should be ------------------------------------------------------------------------

function banners({ sources = {}, cache: serving, charts: shown, flow: flows }) {
  const found = [];
  const add = (key, state, head, more) => found.push(el("p", { class: `banner ${state}`, "data-key": key }, sign(state, head), " ", el("span", { class: "more" }, more)));
  const stale = staleSince(serving, shown);
  if (stale) add("stale", "warn", `Stale since ${clock(stale)}`, staleWords(serving, shown));
  const broker = sources.topics?.failing_since;
  if (broker) add("topics", "bad", `Lag unknown since ${clock(broker)}`, lagBefore(flows));
  for (const [name, source] of Object.entries(sources)) {
    if (!source.failing_since || name === "topics" || name === "cache") continue;
    add(name, "bad", `${NAMES[name] ?? name}: no answer since ${clock(source.failing_since)}`, source.at ? `Shown is what was last seen, at ${clock(source.at)}. ${source.error}.` : `Nothing was seen yet. ${source.error}.`);
  }
  fill(byId("banners"), found);
  note("stale", Boolean(stale), stale ? `Figures are stale since ${clock(stale)}` : "The cache is back");
  note("broker", Boolean(broker), broker ? "The broker does not answer; lag is unknown" : "The broker is back");
  note("store", Boolean(sources.tables?.failing_since), sources.tables?.failing_since ? "The lake does not answer; the last figures stay" : "The lake is back");
}

function staleSince(serving, shown) {
  const times = (shown ?? []).map((item) => item.stale_since).filter(Boolean);
  if (serving?.state === "unavailable" && serving.since) times.push(serving.since);
  return times.sort()[0] ?? null;
}

function staleWords(serving, shown) {
  if ((shown ?? []).some((item) => item.stale_since && item.source === "cache")) return "Gold cannot be read. The figures come from the cache, as they were when it was filled.";
  const what = serving?.state === "unavailable" ? "The cache does not answer." : "The cache lacks what Gold has.";
  return `${what} The figures on this page come from Gold itself and are right; who reads the cache gets older ones, or none.`;
}

function lagBefore(flows) {
  const before = (flows ?? []).filter((item) => item.lag_before !== null);
  if (!before.length) return "The broker does not answer, and has not since this page is served.";
  const records = before.reduce((sum, item) => sum + item.lag_before, 0);
  return `The broker does not answer. When it last did, at ${clock(before[0].lag_at)}, the lag was ${plural(records, "record")}. What is in the lake is not affected.`;
}

function verdict({ alerts: open, flow: flows, levels: objectives, sources = {}, charts: shown, cache: serving }) {
  const failing = Object.values(sources).some((source) => source.failing_since) || staleSince(serving, shown);
  const critical = (open ?? []).filter((alert) => alert.severity === "critical").length;
  const burning = (objectives ?? []).filter((objective) => objective.burning).length;
  const wrong = (flows ?? []).filter((item) => !item.adds_up).length;
  let [state, words] = ["good", "All is well"];
  if (!flows && !failing) [state, words] = ["idle", "Looking…"];
  else if (flows && !flows.some((item) => item.read)) [state, words] = ["idle", "No events yet"];
  if (failing) [state, words] = ["warn", "Degraded: the page says where"];
  if (burning) [state, words] = ["warn", `${plural(burning, "error budget")} burning`];
  if (open?.length) [state, words] = ["warn", plural(open.length, "open alert")];
  if (critical) [state, words] = ["bad", `${plural(critical, "critical alert")}${open.length > critical ? `, ${open.length} open` : ""}`];
  if (wrong) [state, words] = ["bad", "Counts do not add up: run lakehouse verify"];
  fill(byId("verdict"), sign(state, words));
}

// ---- Tiles ---------------------------------------------------------------------------------------------------------

function tile(label, state, value, unit, ...sub) {
  const figure = el("dd", { class: "value" }, el("span", { class: "num" }, value), unit ? el("span", { class: "unit" }, ` ${unit}`) : null);
  return el("div", { class: `tile ${state}`, "data-key": label }, el("dt", {}, label), figure, ...sub.filter(Boolean).map((line) => el("dd", { class: "sub" }, ...[line].flat())));
}

function tiles({ flow: flows, levels: objectives, rates: speed, rejected: out, cost: costs, sources = {} }) {
  fill(byId("tiles"), lagTile(flows, objectives, sources.topics), worstTile("Freshness", "freshness", objectives), worstTile("Latency, 95 of 100", "latency_p95", objectives), rateTile(speed), outTile(out, flows), costTile(costs));
}

function lagTile(flows, objectives, broker) {
  const budget = budgetLine(worst(objectives, "lag_records", "lag_seconds"));
  const first = (flows ?? []).filter((item) => item.lag_before !== null);
  if (broker?.failing_since) {
    const before = first.reduce((sum, item) => sum + item.lag_before, 0);
    return tile("Lag", "bad", "unknown", "", [sign("bad", `since ${clock(broker.failing_since)}`), first.length ? ` it was ${count(before)}` : ""], budget);
  }
  if (!first.length) return tile("Lag", "", "–", "records", "not measured yet", budget);
  const lag = first.reduce((sum, item) => sum + item.lag, 0);
  const most = first.reduce((most, item) => (item.lag > most.lag ? item : most));
  return tile("Lag", stateOf(worst(objectives, "lag_records", "lag_seconds")), count(lag), lag === 1 ? "record" : "records", lag ? `most in ${most.dataset}: ${count(most.lag)}` : "nothing waits in Kafka", budget);
}

/** The objective of these names with the least budget left, among those that were measured. */
function worst(objectives, ...names) {
  const own = (objectives ?? []).filter((item) => names.includes(item.name) && item.value !== null && item.bound !== null);
  return own.length ? own.reduce((least, item) => (item.budget_left < least.budget_left ? item : least)) : null;
}

const stateOf = (objective) => (!objective || objective.bound === null ? "" : objective.budget_left <= 0 ? "bad" : objective.burning ? "warn" : "good");
const budgetLine = (objective) => objective && objective.bound !== null && [sign(stateOf(objective), objective.budget_left <= 0 ? "budget spent" : `${percent(objective.budget_left)} of budget left`)];
const inUnit = (objective, value) => (value === null ? "–" : objective.unit === "seconds" ? duration(value) : objective.unit === "share" ? percent(value) : count(value));
const scope = (objective) => (objective.region ? `${objective.dataset} · ${objective.region}` : objective.dataset);

function worstTile(label, name, objectives) {
  const found = worst(objectives, name);
  if (!found) return tile(label, "", "–", "", "not measured yet");
  return tile(label, stateOf(found), inUnit(found, found.value), "", `${scope(found)}, promised ≤ ${inUnit(found, found.bound)}`, budgetLine(found));
}

function rateTile(speed) {
  const now = speed?.now?.bronze;
  if (now === undefined) return tile("Into Bronze", "", "–", "events/s", "not measured yet");
  return tile("Into Bronze", "", rate(now), "events/s", `Silver ${rate(speed.now.silver ?? 0)}, Gold ${rate(speed.now.gold ?? 0)} rows/s; last minute`);
}

function outTile(out, flows) {
  if (!out) return tile("Kept out", "", "–", "rows", "not measured yet");
  const [poison, rules] = ["poison", "quarantined"].map((name) => out.reduce((sum, item) => sum + item[name], 0));
  const all = (flows ?? []).reduce((sum, item) => sum + item.bronze, 0);
  return tile("Kept out of Silver", "", count(poison + rules), poison + rules === 1 ? "row" : "rows", all ? `${percent((poison + rules) / all)} of Bronze` : "Bronze is empty", `${count(poison)} poison, ${count(rules)} broke a rule`);
}

function costTile(costs) {
  const all = costs?.total;
  if (!all || all.usd_per_million === null) return tile("Cost of a million events", "", "–", "USD", "not measured yet");
  return tile("Cost of a million events", "", dollars(all.usd_per_million), "USD", `${plural(all.events, "event")} in ${costs.hours} h`, `${dollars(all.usd)} USD in all`);
}

// ---- Alerts --------------------------------------------------------------------------------------------------------

function alerts({ alerts: open }) {
  const body = byId("alerts-body");
  text(byId("alerts-note"), open?.length ? "the critical ones first" : "");
  if (!open) fill(body, empty("Not looked at yet.", "Alerts appear here once their journal can be read."));
  else if (!open.length) fill(body, empty("No open alerts.", "Nothing needs a person now."));
  else fill(body, ...grouped(open));
  if (!open) return;
  const now = new Map(open.map((item) => [`${item.alert} ${item.scope}`.trim(), item]));
  const before = told.get("alerts");
  told.set("alerts", now);
  if (!before) return;
  const news = [...now].filter(([id]) => !before.has(id)).map(([id, item]) => `New alert, ${item.severity}: ${id}, ${item.summary}`);
  const over = [...before.keys()].filter((id) => !now.has(id)).map((id) => `Resolved: ${id}`);
  if (news.length || over.length) announce([...news, ...over].join(". "));
}

// Of one kind, so many are shown; a storm of them must not hide the figures.
const ALERTS = 2;

/** Alerts by kind, in the order of the first of each. */
function grouped(open) {
  const kinds = [...new Set(open.map((item) => item.alert))].map((kind) => open.filter((item) => item.alert === kind));
  return kinds.map((own) => el("div", { "data-key": own[0].alert, class: "kind" }, el("ul", {}, ...own.slice(0, ALERTS).map(alert)),
    own.length > ALERTS ? el("details", { "data-key": "more" }, el("summary", {}, `${count(own.length - ALERTS)} more of ${own[0].alert}`), el("ul", {}, ...own.slice(ALERTS).map(alert))) : null));
}

function alert(item) {
  const state = item.severity === "critical" ? "bad" : "warn";
  return el("li", { class: "alert", "data-key": `${item.alert} ${item.scope}` },
    sign(state, item.severity),
    el("p", { class: "what" }, el("b", {}, item.alert), item.scope ? ` ${item.scope}` : "", ": ", item.summary),
    el("p", { class: "when" }, `since ${when(item.since)}`),
    el("p", { class: "links" }, el("a", { href: `/docs/runbooks/${encodeURIComponent(item.alert)}.md`, target: "_blank", rel: "noopener" }, "Runbook", el("span", { class: "unseen" }, ` of ${item.alert}, in a new tab`)), el("code", {}, item.command), item.folded?.length ? `with it: ${item.folded.join(", ")}` : ""),
  );
}

// ---- The flow ------------------------------------------------------------------------------------------------------

const GAPS = { control: "control", aborted: "aborted", compacted: "compacted", unproven_gaps: "unproven", lost: "lost", forgotten: "forgotten", unrecorded: "not recorded yet" };

function flow({ flow: flows, troubles = {} }) {
  const body = byId("flow-body");
  const bad = Object.entries(troubles ?? {}).map(([name, words]) => el("p", { class: "banner bad", "data-key": `bad ${name}` }, sign("bad", `${name} cannot be read`), " ", el("span", { class: "more" }, words)));
  if (!flows) fill(body, bad, empty("Not looked at yet.", "The counts of each layer appear here within seconds."));
  else if (!flows.length && !bad.length) fill(body, empty("No contracts.", "Add one under contracts/: from it follow the topic, the tables and this page."));
  else fill(body, bad, flows.map(stream));
  for (const item of flows ?? []) note(`sum ${item.dataset}`, item.adds_up, item.adds_up ? `The counts of ${item.dataset} add up again` : `The counts of ${item.dataset} do not add up`);
}

function stream(item) {
  const sum = (name) => item.gold.reduce((all, mart) => all + mart[name], 0);
  const [stale, kept] = [sum("stale"), sum("held")];
  const heading = [el("h3", {}, item.dataset), el("span", { class: "soft" }, item.topic), item.trouble ? sign("warn", item.trouble) : null];
  if (!item.read && !item.lag) return el("article", { class: "stream", "data-key": item.dataset, "aria-label": item.dataset }, el("header", {}, ...heading, el("span", { class: "soft" }, item.lag === null ? "nothing was read yet" : "no events yet")));
  const gold = item.gold.length ? `rows in ${plural(item.gold.length, "mart")}` : item.marts ? "rows: not computed yet" : "rows: no mart reads it";
  return el("article", { class: "stream", "data-key": item.dataset, "aria-label": item.dataset },
    el("header", {}, ...heading, item.adds_up ? sign("good", "adds up") : sign("bad", "does not add up: lakehouse verify says where")),
    el("ol", { class: "stations" },
      station("Topic", item.appended ?? item.read, item.appended === null ? "offsets or more" : "offsets"),
      between(item.lag ? "busy" : item.lag === null ? "stuck" : "", bold(item.lag === null ? "?" : count(item.lag)), " lag"),
      station("Bronze", item.bronze, item.bronze === 1 ? "row" : "rows"),
      between(item.held ? "stuck" : item.pending ? "busy" : "", bold(count(item.pending)), " pending", item.held ? [", ", bold(count(item.held)), " held"] : ""),
      station("Silver", item.silver, item.silver === 1 ? "row" : "rows"),
      between(kept ? "stuck" : stale ? "busy" : "", bold(count(stale)), " stale", kept ? [", ", bold(count(kept)), " held"] : ""),
      station("Gold", sum("rows"), gold),
    ),
    bar(item),
    sums(item),
  );
}

function station(name, value, unit) {
  return el("li", { class: "station" }, el("p", { class: "name" }, name), el("p", { class: "count" }, el("span", { class: "num" }, count(value)), el("span", { class: "unit" }, ` ${unit}`)));
}

const between = (state, ...children) => el("li", { class: `between ${state}` }, el("span", {}, ...children.flat()));
const gapsOf = (item) => Object.keys(GAPS).reduce((all, name) => all + item[name], 0);

/** The same counts as lengths, for the eye alone. */
function bar(item) {
  const shares = { silver: item.silver, superseded: item.superseded, quarantined: item.quarantined, tombstones: item.tombstones, pending: item.pending, held: item.held, gaps: gapsOf(item), lag: item.lag ?? 0 };
  const all = Object.values(shares).reduce((sum, value) => sum + Math.max(0, value), 0);
  const strip = el("div", { class: "bar", "aria-hidden": "true" });
  for (const [name, value] of Object.entries(shares)) if (value > 0) strip.append(el("i", { class: `k-${name}`, "data-share": ((100 * value) / all).toFixed(2) }));
  return strip;
}

/** The two sums, without what is nothing. */
function sums(item) {
  const term = (kind, value, words) => [kind ? el("span", { class: `key k-${kind}`, "aria-hidden": "true" }) : "", bold(count(value)), ` ${words}`];
  const plus = (...terms) => terms.filter(([, value], index) => value || !index).flatMap((parts, index) => [index ? " + " : "", ...term(...parts)]);
  const gaps = Object.entries(GAPS).filter(([name]) => item[name]).map(([name, words]) => `${count(item[name])} ${words}`).join(", ");
  const offsets = [["", item.bronze, "in Bronze"], ["", item.expired, "expired"], ["gaps", gapsOf(item), `without a row (${gaps})`], ["lag", item.lag ?? 0, "lag"]];
  const rows = [["silver", item.silver, "in Silver"], ["superseded", item.superseded, "superseded"], ["quarantined", item.quarantined, item.poison ? `quarantined (${count(item.poison)} poison)` : "quarantined"], ["tombstones", item.tombstones, item.tombstones === 1 ? "tombstone" : "tombstones"], ["pending", item.pending, "pending"], ["held", item.held, "held back"]];
  return el("ul", { class: "sums" },
    el("li", {}, bold(count(item.appended ?? item.read)), item.appended === null ? " read = " : " offsets = ", ...plus(...offsets)),
    el("li", {}, bold(count(item.bronze + item.expired)), item.expired ? " in Bronze and expired = " : " in Bronze = ", ...plus(...rows)));
}

// ---- Service levels ------------------------------------------------------------------------------------------------

const OBJECTIVES = { lag_records: "Lag", lag_seconds: "Lag in time", freshness: "Freshness", latency_p50: "Latency p50", latency_p95: "Latency p95", latency_p99: "Latency p99", completeness: "Complete", availability: "Available" };

function levels({ levels: objectives }) {
  const body = byId("levels-body");
  text(byId("levels-note"), objectives?.length ? "of all regions the one with the least budget left" : "");
  if (!objectives?.length) {
    fill(body, empty("Not measured yet.", "Lag, freshness, latency and completeness are measured every half minute while Dagster's sensors run (lakehouse dev)."));
    return;
  }
  const datasets = [...new Set(objectives.map((item) => item.dataset))];
  const names = Object.keys(OBJECTIVES).filter((name) => objectives.some((item) => item.name === name));
  const rows = datasets.map((dataset) => [dataset, ...names.map((name) => level(leastOf(objectives.filter((item) => item.dataset === dataset && item.name === name))))]);
  const columns = [{ label: "Dataset" }, ...names.map((name) => ({ label: OBJECTIVES[name] }))];
  const every = objectives.map((item) => [scope(item), OBJECTIVES[item.name] ?? item.name, inUnit(item, item.value), promised(item), item.value === null || item.bound === null ? "–" : percent(item.budget_left), ...["5m", "1h", "6h", "3d"].map((span) => (item.burn?.[span] === undefined || item.burn[span] === null ? "–" : `${fine.format(item.burn[span])}×`)), stateSign(item)]);
  fill(body,
    table({ caption: "Service levels by dataset", columns, rows, kind: "matrix" }),
    el("details", { "data-key": "every" }, el("summary", {}, "Every objective and region, with burn rates"), table({ caption: "Every objective", columns: [{ label: "Of" }, { label: "Objective" }, { label: "Now", right: true }, { label: "Promised", right: true }, { label: "Budget left", right: true }, ...["5 min", "1 h", "6 h", "3 d"].map((span) => ({ label: `Burn ${span}`, right: true })), { label: "State" }], rows: every })));
}

function leastOf(own) {
  const measured = own.filter((item) => item.value !== null);
  return (measured.length ? measured : own).reduce((least, item) => (least === null || item.budget_left < least.budget_left ? item : least), null);
}

const promised = (item) => (item.bound === null ? "no bound" : `${item.unit === "share" ? "≥" : "≤"} ${inUnit(item, item.bound)}`);

function stateSign(item) {
  if (item.value === null) return sign("idle", "no figure yet");
  if (item.bound === null) return sign("idle", "nothing promised");
  if (item.budget_left <= 0) return sign("bad", "budget spent");
  return item.burning ? sign("warn", "burning") : sign("good", "kept");
}

function level(item) {
  if (!item) return [el("span", { class: "soft" }, "–")];
  const left = Math.max(0, Math.min(1, item.budget_left));
  const state = item.budget_left <= 0 ? "bad" : item.burning ? "warn" : "good";
  return [
    el("span", {}, el("span", { class: "now num" }, inUnit(item, item.value)), small(`${promised(item)}${item.region ? ` · ${item.region}` : ""}`),
      item.bound === null ? null : el("span", { class: `meter ${state}`, "aria-hidden": "true" }, el("i", { "data-share": (left * 100).toFixed(1) })),
      item.value === null || item.bound === null ? stateSign(item) : item.budget_left > 0 && !item.burning ? small(`${percent(item.budget_left)} of budget left`) : stateSign(item)),
  ];
}

// ---- Charts --------------------------------------------------------------------------------------------------------

const DASHES = [[], [7, 3], [2, 3], [9, 3, 2, 3], [4, 4], [1, 4]];
const plots = new Map();
const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
/** The charts' library comes beside this script; the first figures do not wait for it. */
const library = new Promise((resolve, reject) => {
  const loaded = () => resolve(globalThis.uPlot);
  if (globalThis.uPlot) loaded();
  byId("uplot").addEventListener("load", loaded);
  byId("uplot").addEventListener("error", reject);
});

/**
 * Draws lines into a holder, which is made once and kept: what changes afterwards are its data.
 * @param {{key: string, title: string, unit: string, at: number[], series: {label: string, values: (number|null)[]}[], step: number}} chart
 */
function plot(holder, chart) {
  const signature = JSON.stringify([chart.series.map(({ label, values }) => [label, values.includes(null)]), document.documentElement.dataset.theme ?? "", matchMedia("(prefers-color-scheme: dark)").matches]);
  let mine = plots.get(chart.key);
  if (!mine || mine.holder !== holder) {
    const canvas = el("div", { class: "canvas", role: "img" });
    const legend = el("ul", { class: "legend" });
    const rows = el("details", {}, el("summary", {}, "The same as a table"));
    rows.addEventListener("toggle", () => rows.open && tabulate(plots.get(chart.key)));
    holder.replaceChildren(el("p", { class: "title" }, chart.title), legend, canvas, rows);
    mine = { holder, canvas, legend, rows, signature: "", view: null };
    plots.set(chart.key, mine);
    new ResizeObserver(() => mine.view?.setSize({ width: canvas.clientWidth, height: 168 })).observe(canvas);
  }
  mine.chart = chart;
  attr(mine.canvas, "aria-label", spokenChart(chart));
  legend(mine, null);
  if (mine.rows.open) tabulate(mine);
  library.then((UPlot) => {
    const data = [mine.chart.at, ...mine.chart.series.map(({ values }) => values)];
    if (mine.view && mine.signature === signature) mine.view.setData(data);
    else {
      mine.view?.destroy();
      mine.signature = signature;
      mine.view = new UPlot(options(mine), data, mine.canvas);
    }
  });
}

function options(mine) {
  const axis = { stroke: css("--soft"), grid: { stroke: css("--line"), width: 1 }, ticks: { show: false }, font: "12px system-ui, sans-serif" };
  return {
    width: mine.canvas.clientWidth || 300,
    height: 168,
    legend: { show: false },
    padding: [8, 16, 0, 0],
    tzDate: (seconds) => new Date(seconds * 1000 + new Date(seconds * 1000).getTimezoneOffset() * 60_000),
    scales: { y: { range: (_, low, high) => [Math.min(0, low ?? 0), (high ?? 0) > 0 ? high * 1.08 : 1] } },
    axes: [{ ...axis, size: 26, space: 70, values: (_, ticks) => ticks.map((tick) => (ticks.at(-1) - ticks[0] > 86_400 ? new Date(tick * 1000).toISOString().slice(5, 10) : minute(tick * 1000))) }, { ...axis, size: 52, space: 34, values: (_, ticks) => ticks.map((tick) => brief.format(tick)) }],
    cursor: { drag: { x: false, y: false }, points: { size: 6 } },
    series: [{}, ...mine.chart.series.map(({ label, values }, index) => ({ label, stroke: css(`--s${(index % 6) + 1}`), width: 1.8, dash: DASHES[index % DASHES.length], points: { show: values.includes(null) || values.length < 3, size: 4, fill: css(`--s${(index % 6) + 1}`) }, spanGaps: false }))],
    hooks: { setCursor: [(view) => legend(mine, view.cursor.idx ?? null)] },
  };
}

/** Under the title: each line with its stroke, and its value where the pointer is, or the newest. */
function legend(mine, index) {
  const { chart } = mine;
  const newest = (values) => values.findLastIndex((value) => value !== null);
  fill(mine.legend, chart.series.map(({ label, values }, line) => {
    const place = index ?? newest(values);
    const value = place === -1 ? null : values[place];
    return el("li", {}, stroke(line), `${label} `, bold(value === null || value === undefined ? "–" : fine.format(value)));
  }), chart.at.length ? el("li", { class: "soft" }, index === null ? `newest, ${minute(chart.at.at(-1) * 1000)}${chart.states?.length ? ` ${chart.states.at(-1)}` : ""}, ${chart.unit}` : `at ${minute(chart.at[index] * 1000)}${chart.states?.length ? ` ${chart.states[index]}` : ""}, ${chart.unit}`) : null);
}

function stroke(line) {
  const svg = document.createElementNS(SVG, "svg");
  for (const [name, value] of Object.entries({ width: 22, height: 8, "aria-hidden": "true" })) svg.setAttribute(name, value);
  const path = document.createElementNS(SVG, "line");
  const look = { x1: 0, x2: 22, y1: 4, y2: 4, stroke: `var(--s${(line % 6) + 1})`, "stroke-width": 2.5, "stroke-dasharray": DASHES[line % DASHES.length].join(" ") };
  for (const [name, value] of Object.entries(look)) svg.append((path.setAttribute(name, value), path));
  return svg;
}

function spokenChart({ title, unit, at, series }) {
  if (!at.length) return `${title}: no figures`;
  const newest = series.map(({ label, values }) => `${label} ${values.findLast((value) => value !== null) ?? "none"}`).join(", ");
  return `Line chart, ${title}, ${unit}, from ${minute(at[0] * 1000)} to ${minute(at.at(-1) * 1000)} UTC. Newest: ${newest}. A table of the same figures follows.`;
}

const TABLE_ROWS = 20;

function tabulate({ chart, rows }) {
  const places = chart.at.map((_, index) => index).slice(-TABLE_ROWS).reverse();
  const shown = (value, exact) => (exact ?? (value === null || value === undefined ? "–" : fine.format(value)));
  const cells = places.map((index) => [when(chart.at[index] * 1000), ...(chart.states?.length ? [chart.states[index]] : []), ...chart.series.map(({ values, exact }) => shown(values[index], exact?.[index]))]);
  const columns = [{ label: "Begin, UTC" }, ...(chart.states?.length ? [{ label: "State" }] : []), ...chart.series.map(({ label }) => ({ label, right: true }))];
  const made = table({ caption: `${chart.title}, ${chart.unit}, newest first`, columns, rows: cells });
  const old = rows.querySelector("table");
  if (!old) rows.append(made);
  else if (old.innerHTML !== made.innerHTML) morph(old, made);
}

function charts({ charts: shown, about: project }) {
  const body = byId("charts-body");
  if (!shown?.length) {
    const none = !project?.window_marts?.length;
    fill(body, none ? empty("No mart of windows.", "A mart with a column window_start and the property window shows its figures here, live, by region.") : empty("No figures yet.", "They appear with the first commit of a mart of windows."));
    plots.clear();
    return;
  }
  if (!body.querySelector(".mart")) body.replaceChildren();
  const marts = new Map([...body.querySelectorAll(".mart")].map((node) => [node.dataset.mart, node]));
  for (const item of shown) {
    let node = marts.get(item.mart);
    if (!node) {
      node = el("article", { class: "mart", "data-mart": item.mart, "aria-label": item.mart }, el("header", {}), el("div", { class: "plots" }));
      body.append(node);
    }
    marts.delete(item.mart);
    const served = item.source === "cache" ? el("span", { class: "badge good" }, "from the cache") : el("span", { class: `badge ${item.stale_since ? "warn" : ""}` }, item.stale_since ? `stale since ${clock(item.stale_since)}, from Gold` : "from Gold");
    fill(node.firstChild, el("h3", {}, item.mart), el("span", { class: "soft" }, `${item.description} Version ${item.version}.`), served);
    for (const measure of item.measures) {
      const key = `${item.mart}.${measure.name}`;
      let holder = node.lastChild.querySelector(`[data-measure="${CSS.escape(measure.name)}"]`);
      if (!holder) node.lastChild.append((holder = el("div", { class: "plot", "data-measure": measure.name })));
      const series = measure.series.map(({ label, values }) => ({ label, values: values.map((value) => (value === null ? null : Number(value))), exact: values }));
      plot(holder, { key, title: measure.name.replaceAll("_", " "), unit: `windows of ${duration(item.window_s)}`, at: item.at, states: item.states, series });
    }
  }
  for (const node of marts.values()) node.remove();
}

function rates({ rates: speed }) {
  const body = byId("rates-body");
  if (!speed) return fill(body, empty("Not measured yet.", "Rows a second of each layer, from the commits that wrote them."));
  text(byId("rates-note"), `means of ${speed.step_s} s over ${duration(speed.at.length * speed.step_s)}`);
  if (!body.querySelector(".plot")) body.replaceChildren(el("div", { class: "plot" }));
  const series = ["bronze", "silver", "gold"].filter((layer) => speed.layers[layer]).map((layer) => ({ label: layer[0].toUpperCase() + layer.slice(1), values: speed.layers[layer] }));
  plot(body.firstChild, { key: "rates", title: "Rows committed", unit: "rows/s", at: speed.at, series });
}

function latency({ latency: found }) {
  const body = byId("latency-body");
  if (!found?.at?.length) return fill(body, empty("Not measured yet.", "From the moment at which an event is in Kafka until it can be read in Gold: measured with every commit of a mart while Dagster's sensors run."));
  if (!body.querySelector(".plot")) body.replaceChildren(el("div", { class: "plot" }));
  text(byId("latency-note"), found.dataset ? `of ${found.dataset}, the slowest` : "");
  plot(body.firstChild, { key: "latency", title: "Seconds from Kafka to Gold", unit: "seconds", at: found.at, series: found.series });
}

// ---- Lists ---------------------------------------------------------------------------------------------------------

function windows({ windows: states }) {
  const body = byId("windows-body");
  if (!states) return fill(body, empty("Not looked at yet.", ""));
  if (!states.length) return fill(body, empty("No windows.", "Marts of windows say here which are open, closed, or were restated by late rows."));
  const columns = [{ label: "Mart" }, { label: "Open", right: true }, { label: "Closed", right: true }, { label: "Restated", right: true }, { label: "Late rows", right: true }];
  const rows = states.map((item) => [[item.mart, item.restated_at ? small(`last late row ${when(item.restated_at)}`) : small("none was late")], count(item.open), count(item.closed), count(item.restated), count(item.late_rows)]);
  fill(body, table({ caption: "Windows by mart and state", columns, rows }));
}

// Of all reasons, those with the most rows.
const REASONS = 8;

function rejected({ rejected: out }) {
  const body = byId("rejected-body");
  if (!out) return fill(body, empty("Not looked at yet.", ""));
  if (!out.length) return fill(body, empty("Nothing was kept out.", "No message was poison, and no row broke a rule."));
  const of = (item, reasons, kind) => reasons.map((reason) => ({ ...reason, of: `${kind} of ${item.dataset}` }));
  const every = out.flatMap((item) => [...of(item, item.poison_reasons, "poison"), ...of(item, item.rule_reasons, "quarantine")]).sort((one, other) => other.rows - one.rows);
  const all = out.reduce((sum, item) => sum + item.poison + item.quarantined, 0);
  const shown = every.slice(0, REASONS);
  const rest = all - shown.reduce((sum, item) => sum + item.rows, 0);
  const rows = [...shown.map((item) => [[item.reason, small(item.of)], count(item.rows), when(item.last)]), ...(rest > 0 ? [["other reasons", count(rest), ""]] : [])];
  text(byId("rejected-note"), `${plural(all, "row")} in quarantine or poison`);
  fill(body, table({ caption: "Poison and quarantined rows by reason", columns: [{ label: "Reason" }, { label: "Rows", right: true }, { label: "Last", right: true }], rows }));
}

function held({ held: scopes }) {
  const body = byId("held-body");
  if (!scopes) return fill(body, empty("Not looked at yet.", ""));
  note("held", scopes.map((item) => `${item.dataset} ${item.scope}`).join(", "), scopes.length ? `Held back: ${scopes.map((item) => `${item.dataset} ${item.scope}`).join(", ")}` : "Nothing is held back any more");
  if (!scopes.length) return fill(body, empty("All breakers are closed.", "No region and no table partition is held back."));
  const rows = scopes.map((item) => [[sign("bad", `${item.dataset} · ${item.scope}`), small(item.breaker ? "breaker open" : "would break a table rule")], [small(item.why), small(`judged again ${when(item.retry)}`)], count(item.rows), when(item.since)]);
  fill(body, table({ caption: "What the gate holds back", columns: [{ label: "Scope" }, { label: "Why" }, { label: "Rows", right: true }, { label: "Since", right: true }], rows }));
}

// Of all assets, the dearest.
const ASSETS = 12;

function cost({ cost: costs }) {
  const body = byId("cost-body");
  if (!costs?.assets?.length) return fill(body, empty("Not measured yet.", "Each materialization records what it used, and a price book turns that into dollars; lakehouse cost shows the same."));
  text(byId("cost-note"), `runs of the last ${costs.hours} h, ${dollars(costs.total.usd)} USD in all`);
  const row = (item) => [item.asset, count(item.events), [el("span", {}, duration(item.cpu_seconds), item.failed ? small(sign("warn", `${count(item.failed)} failed`)) : "")], dollars(item.usd), item.usd_per_million === null ? "–" : dollars(item.usd_per_million)];
  const columns = [{ label: "Asset" }, { label: "Events", right: true }, { label: "CPU time", right: true }, { label: "USD", right: true }, { label: "USD per million events", right: true }];
  const rest = costs.assets.slice(ASSETS);
  fill(body, table({ caption: "Cost by asset", columns, rows: costs.assets.slice(0, ASSETS).map(row) }), rest.length ? el("details", { "data-key": "more" }, el("summary", {}, `${plural(rest.length, "more asset")}`), table({ caption: "Cost of the other assets", columns, rows: rest.map(row) })) : null);
}

function cache({ cache: serving }) {
  const body = byId("cache-body");
  if (!serving) return fill(body, empty("Not looked at yet.", ""));
  if (serving.state === "none") return fill(body, empty("No cache.", "lakehouse up starts one, or REDIS_URL names one. Until then all figures come from Gold."));
  const state = serving.state === "available" ? sign("good", "answers") : sign("warn", `away since ${clock(serving.since)}`);
  fill(byId("cache-note"), state, ` ${serving.address}, breaker ${serving.breaker}`);
  if (!serving.marts.length) return fill(body, empty("No mart is served.", "A mart whose contract says serve is published to the cache after each commit."));
  const version = (value) => (value < 0 ? "–" : count(value));
  const rows = serving.marts.map((item) => [item.mart, version(item.gold), version(item.cached), count(item.rows), copyState(item, serving)]);
  fill(body, table({ caption: "Versions of served marts", columns: [{ label: "Mart" }, { label: "In Gold", right: true }, { label: "In the cache", right: true }, { label: "Rows", right: true }, { label: "State" }], rows }));
}

function copyState(item, serving) {
  if (item.gold < 0) return sign("idle", "not computed yet");
  if (serving.state !== "available") return sign("warn", "read from Gold");
  return item.current ? sign("good", "as new as Gold") : sign("warn", `behind since ${clock(item.behind_since)}`);
}

// ---- Live ----------------------------------------------------------------------------------------------------------

// A look comes every two seconds, a sign of life every five: after this much silence the line is dead.
const SILENCE_MS = 8000;
let stream_ = null;
let heard = Date.now();
let lostAt = null;

function listen() {
  stream_?.close();
  stream_ = new EventSource(`/api/events?since=${encodeURIComponent(known.id)}`);
  const alive = () => {
    heard = Date.now();
    connection(true);
  };
  stream_.addEventListener("open", alive);
  stream_.addEventListener("beat", alive);
  stream_.addEventListener("look", (event) => {
    alive();
    take(JSON.parse(event.data));
  });
  stream_.addEventListener("error", () => {
    connection(false);
    if (stream_?.readyState === EventSource.CLOSED) setTimeout(again, 3000);
  });
}

/** After a refusal the browser does not try again by itself; the answer says whether to log in. */
async function again() {
  if (paused) return;
  try {
    const answer = await fetch("/api/snapshot");
    if (answer.status === 401) return location.assign("/login");
    if (answer.ok) return listen();
  } catch {
    // no answer: tried again below
  }
  setTimeout(again, 3000);
}

function connection(is) {
  if (paused) return;
  lostAt = is ? null : lostAt ?? Date.now();
  attr(byId("live"), "class", `live ${is ? "good" : "bad"}`);
  text(byId("live-word"), is ? "Live" : `No contact since ${clock(lostAt)}`);
  note("contact", is, is ? "Live again" : "No contact with the server; the figures stay as they were");
}

let paused = false;
function pause() {
  paused = !paused;
  attr(byId("pause"), "aria-pressed", String(paused));
  text(byId("pause"), paused ? "Resume" : "Pause");
  if (paused) {
    stream_?.close();
    attr(byId("live"), "class", "live warn");
    text(byId("live-word"), "Paused");
  } else listen();
}

const THEMES = ["auto", "light", "dark"];
function theme(chosen) {
  if (chosen === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = chosen;
  text(byId("theme"), `Theme: ${chosen}`);
  for (const mine of plots.values()) plot(mine.holder, mine.chart);
}

function stored(value) {
  try {
    if (value) localStorage.setItem("theme", value);
    return localStorage.getItem("theme") ?? "auto";
  } catch {
    return value ?? "auto"; // storage may be forbidden
  }
}

/** Lengths are set here, as no style may stand in the page itself. */
function lengths() {
  for (const node of document.querySelectorAll("[data-share]")) {
    const width = `${node.dataset.share}%`;
    if (node.style.width !== width) node.style.width = width;
  }
}

async function begin() {
  theme(stored());
  byId("theme").addEventListener("click", () => theme(stored(THEMES[(THEMES.indexOf(stored()) + 1) % THEMES.length])));
  byId("pause").addEventListener("click", pause);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => theme(stored()));
  new MutationObserver(lengths).observe(byId("main"), { subtree: true, childList: true, attributeFilter: ["data-share"] });
  setInterval(() => !paused && Date.now() - heard > SILENCE_MS && connection(false), 1000);
  try {
    const answer = await fetch("/api/snapshot");
    if (answer.status === 401) return location.assign("/login");
    take(await answer.json());
    performance.mark("figures");
  } catch {
    connection(false);
  }
  listen();
}

begin();
