// The time line: a thread's checkpoints, the last one first, with its branches, and what ran inside of its nodes.
import { link } from "./address.js";
import { el, pill, svg } from "./dom.js";
import { bytes, facts, made, moment, short, since, space } from "./format.js";
import { cut } from "./text.js";

const LANE = 16, HEIGHT = 56, FIRST = 12, MOST = 7;
const x = (lane) => FIRST + Math.min(lane, MOST) * LANE;

// For each checkpoint, newest first: its lane, the lanes that pass it, and those that come together in it.
export function lanes(rows, isWhole) {
  const ids = new Set(rows.map((row) => row.checkpoint_id));
  const wanted = [];
  return rows.map((row) => {
    const above = wanted.map((id) => id !== null);
    const joined = wanted.flatMap((id, lane) => (id === row.checkpoint_id ? [lane] : []));
    let lane = joined[0] ?? wanted.indexOf(null);
    if (lane < 0) lane = wanted.length;
    for (const each of joined) wanted[each] = null;
    const parent = row.parent_id;
    wanted[lane] = parent !== null && !(isWhole && !ids.has(parent)) ? parent : null;
    while (wanted.length && wanted.at(-1) === null) wanted.pop();
    return { lane, above, joined, below: wanted.map((id) => id !== null), isCut: parent !== null && isWhole && !ids.has(parent) };
  });
}

function drawing({ lane, above, joined, below, isCut }, width, isHead) {
  const picture = svg("svg", { class: "lanes", width, height: HEIGHT, "aria-hidden": "true" });
  const middle = HEIGHT / 2;
  const line = (d, at, dashed) => picture.append(svg("path", { d, class: `lane lane-${at % 6}${dashed ? " is-cut" : ""}` }));
  above.forEach((is, at) => {
    if (!is) return;
    if (joined.includes(at)) line(at === lane ? `M${x(at)} 0V${middle}` : `M${x(at)} 0C${x(at)} ${middle} ${x(lane)} ${middle / 3} ${x(lane)} ${middle}`, at);
    else line(`M${x(at)} 0V${HEIGHT}`, at);
  });
  if (below[lane]) line(`M${x(lane)} ${middle}V${HEIGHT}`, lane);
  if (isCut) line(`M${x(lane)} ${middle}V${HEIGHT - 6}`, lane, true);
  picture.append(svg("circle", { cx: x(lane), cy: middle, r: isHead ? 6 : 4.5, class: `dot lane-${lane % 6}${isHead ? " is-head" : ""}` }));
  return picture;
}

function passing(below, width) {
  const picture = svg("svg", { class: "lanes is-stretched", width, height: 1, "aria-hidden": "true" });
  below.forEach((is, at) => { if (is) picture.append(svg("path", { d: `M${x(at)} 0V4000`, class: `lane lane-${at % 6}` })); });
  return picture;
}

// A row may be higher than its drawing: then what passes it goes on below.
const isCurrent = (row, where) => row.checkpoint_id === where.at && row.checkpoint_ns === where.ns;
const track = (width, ...pictures) => el("div.track", { vars: { "--width": `${width}px` } }, pictures);

export class Timeline {
  constructor(thread) {
    this.thread = thread;
    this.opened = new Set();
    this.made = new Map();
    this.node = el("ol.timeline", { "aria-label": "Time line, the latest first" });
  }

  // `where` is {at, ns, base, options}: what is looked at, and what it is compared with.
  show(rows, isWhole, where) {
    const focused = this.node.contains(document.activeElement) ? document.activeElement.dataset.place : undefined;
    const roots = rows.filter((row) => row.checkpoint_ns === "");
    const known = new Set(roots.map((row) => row.checkpoint_id));
    const inside = new Map();
    for (const row of rows) {
      if (row.checkpoint_ns === "") continue;
      const under = known.has(row.parents[""]) ? row.parents[""] : null;
      if (!inside.has(under)) inside.set(under, new Map());
      const spaces = inside.get(under);
      if (!spaces.has(row.checkpoint_ns)) spaces.set(row.checkpoint_ns, []);
      spaces.get(row.checkpoint_ns).push(row);
    }
    const placed = lanes(roots, isWhole);
    const width = FIRST * 2 + Math.min(MOST, Math.max(0, ...placed.map((each) => Math.max(each.above.length, each.below.length, each.lane + 1) - 1))) * LANE;
    const former = this.made;
    this.made = new Map();
    let below = [];
    const shown = roots.flatMap((row, at) => {
      const pictures = () => [drawing(placed[at], width, row.is_head), passing(placed[at].below, width)];
      const lines = [...this.groups(inside.get(row.checkpoint_id), below, width, where, former), this.kept(former, row, placed[at], pictures, width, where)];
      below = placed[at].below;
      return lines;
    });
    this.node.replaceChildren(...shown, ...this.groups(inside.get(null), below, width, where, former));
    if (focused !== undefined) [...this.node.querySelectorAll("a, button")].find((each) => each.dataset.place === focused)?.focus();
  }

  forget() {
    this.made.clear();
    this.opened.clear();
  }

  // A line that is as it was is taken again: of thousands, nearly all are.
  kept(former, row, place, pictures, width, where, depth = 0) {
    const as = JSON.stringify([row, place, width, depth, row.checkpoint_id === where.base, isCurrent(row, where)]);
    const line = former.get(as) ?? this.row(row, pictures(), width, where, depth);
    this.made.set(as, line);
    line.querySelector("a").setAttribute("href", this.link(row, where));
    return line;
  }

  link(row, where) {
    return link("thread", this.thread, { ...where.options, at: row.checkpoint_id, ns: row.checkpoint_ns || undefined });
  }

  groups(spaces, below, width, where, former) {
    const lines = [];
    for (const [ns, rows] of spaces ?? []) {
      const isOpen = this.opened.has(ns) || where.ns === ns;
      const button = el("button.group", { type: "button", "aria-expanded": String(isOpen), "data-place": ns, onclick: () => {
        if (isOpen) this.opened.delete(ns); else this.opened.add(ns);
        this.onToggle?.();
      } }, el("span.caret", { "aria-hidden": "true" }, isOpen ? "▾" : "▸"), el("span.group-name", { dir: "auto" }, cut(space(ns), 60)), el("span.quiet", {}, `${rows.length} inside`));
      lines.push(el("li.inside", {}, track(width, passing(below, width)), button));
      if (isOpen) lines.push(...rows.map((row) => this.kept(former, row, below, () => passing(below, width), width, where, ns.split("|").length)));
    }
    return lines;
  }

  row(row, pictures, width, where, depth = 0) {
    const badges = [
      row.is_head && depth === 0 ? pill("head", "head", "a run goes on from here") : null,
      row.interrupts ? pill("waits", row.is_head ? "question" : "asked", `${row.interrupts} asked here`) : null,
      row.error ? pill("failed", "error", "a task failed here") : null,
      row.is_fork ? pill("fork", "fork", "begun from an older checkpoint") : null,
      row.conflict ? pill("failed", "conflict", `two runs met: it did not follow ${row.conflict}`) : null,
      row.note ? pill("failed", "damaged", row.note) : null,
      row.checkpoint_id === where.base ? pill("base", "compared") : null,
    ];
    const step = row.step === null ? "" : String(row.step);
    return el("li", { class: depth ? "inside" : undefined, vars: depth ? { "--depth": String(depth) } : undefined }, track(width, pictures),
      el("a.moment", {
        href: this.link(row, where), "aria-current": isCurrent(row, where) ? "true" : undefined, "data-place": row.checkpoint_ns + " " + row.checkpoint_id,
        title: `${moment(row.created_at)}\n${cut(row.checkpoint_id, 100)}`,
      },
      el("span.moment-top", {}, el("span.step", { title: `step ${step}` }, step), el("span.made", { dir: "auto" }, cut(made(row), 60)), badges),
      el("span.moment-facts", {}, facts(since(row.created_at), row.changed.length ? cut(row.changed.slice(0, 3).join(", "), 60) + (row.changed.length > 3 ? " …" : "") : "", row.device ? "on " + cut(row.device, 20) : ""))));
  }
}

export const name = (row) => `${row.step ?? "?"} · ${made(row)} · ${short(row.checkpoint_id)} · ${bytes(row.size)}`;
