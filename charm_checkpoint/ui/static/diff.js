// What differs between two checkpoints.
import { append, el, empty, pill } from "./dom.js";
import { json } from "./conversation.js";
import { count } from "./format.js";
import { cut } from "./text.js";

const MARKS = { added: "+", removed: "−", changed: "±" };
const SHOWN = 4000;

// The part of two texts that differs, with a little before and behind it.
function sides(old, now) {
  let start = 0;
  while (start < old.length && start < now.length && old[start] === now[start]) start++;
  let end = 0;
  while (end < old.length - start && end < now.length - start && old[old.length - 1 - end] === now[now.length - 1 - end]) end++;
  const from = Math.max(0, start - 60);
  const piece = (text) => {
    const last = text.length - end;
    return [from ? "…" : "", text.slice(from, start), el("mark", {}, cut(text.slice(start, last), SHOWN)), text.slice(last, last + 60), last + 60 < text.length ? "…" : ""];
  };
  return [piece(old), piece(now)];
}

// Messages that came or went are shown by what they say; all that is stored of them is one click away.
function said(value, side) {
  const all = Array.isArray(value) ? value : [value];
  if (!all.length || !all.every((each) => typeof each?.type === "string" && typeof each.content === "string")) return null;
  return [
    el(`div.said.${side}`, {}, all.map((each) => el("p", { dir: "auto" }, el("b", {}, each.type), " ", cut(each.content, 1000),
      (each.tool_calls ?? []).map((call) => el("code.asked", {}, `→ ${cut(String(call?.name), 60)}(${cut(json(call?.args) ?? "", 300)})`))))),
    el("details.raw", {}, el("summary", {}, "as it is stored"), el("pre.code", { dir: "auto" }, cut(json(value), 20 * SHOWN))),
  ];
}

function change(each) {
  const body = el("div.change-body");
  if (each.kind === "changed") {
    const [old, now] = [json(each.old) ?? "null", json(each.new) ?? "null"];
    const [before, after] = sides(old, now);
    append(body, [el("pre.code.is-old", { dir: "auto" }, before), el("pre.code.is-new", { dir: "auto" }, after)]);
  } else {
    const value = each.kind === "added" ? each.new : each.old;
    const side = each.kind === "added" ? "is-new" : "is-old";
    append(body, said(value, side) ?? [el(`pre.code.${side}`, { dir: "auto" }, cut(json(value) ?? "null", SHOWN))]);
  }
  return el(`details.change.is-${each.kind}`, { open: true },
    el("summary", {}, el("span.change-mark", { title: each.kind, "aria-label": each.kind }, MARKS[each.kind]), el("code", { dir: "auto" }, cut(each.path, 200))), body);
}

export function diffView(found) {
  if (!found.changes.length) return empty("Nothing differs", "The two states hold the same.");
  const kinds = ["added", "changed", "removed"].map((kind) => [kind, found.changes.filter((each) => each.kind === kind).length]);
  return el("div.diff", {},
    el("p.diff-sum", {}, kinds.filter(([, number]) => number).map(([kind, number]) => pill(kind, `${number} ${kind}`))),
    found.notes.map((note) => el("p.note", { dir: "auto" }, `⚠ ${note.path}: ${note.text}`)),
    found.changes.map(change),
    found.left_out ? el("p.note", {}, `${count(found.left_out, "more difference")} not shown; the command's diff shows all`) : null);
}
