// The state at a checkpoint: its channels, what tasks wrote there, its metadata; and who wrote what.
import { get } from "./api.js";
import { link } from "./address.js";
import { dialog, toast } from "./dialogs.js";
import { append, el, empty, load } from "./dom.js";
import { bytes, made, path as written, since } from "./format.js";
import { json, long } from "./conversation.js";
import { cut } from "./text.js";
import { Tree } from "./tree.js";

const act = (label, title, onclick) => el("button.act", { type: "button", title, onclick }, label);

export function stateView(state, where, opened) {
  const place = { thread: state.thread_id, checkpoint: state.checkpoint.checkpoint_id, ns: where.ns };
  const tree = new Tree(
    (path, offset) => get("value", { ...place, path: JSON.stringify(path), offset }),
    (path) => [
      act("who wrote it", `Which checkpoint and node wrote ${written(path)}`, () => whoWrote(place, path, where)),
      act("copy path", "Copy the path", () => copy(written(path))),
    ],
    opened,
  );
  const section = (title, count, content) =>
    count ? el("details.section", { open: opened.has(title), ontoggle: (event) => { if (event.target.open) opened.add(title); else opened.delete(title); } },
      el("summary", {}, title, el("span.quiet", {}, ` ${count}`)), content) : null;
  const own = state.channels.filter((channel) => !channel.is_internal);
  const internal = state.channels.filter((channel) => channel.is_internal);
  return el("div.state", {},
    own.length ? own.map((channel) => row(tree, channel)) : empty("The state is empty here"),
    section("Written by tasks at this checkpoint", state.writes.length, state.writes.map(write)),
    section("LangGraph's own channels", internal.length, internal.map((channel) => row(tree, channel))),
    section("Metadata", Object.keys(state.metadata).length, [el("pre.code", { dir: "auto" }, json(state.metadata))]),
    el("p.quiet.id-line", {}, "checkpoint ", el("code", { dir: "auto" }, cut(state.checkpoint.checkpoint_id, 400))));
}

function row(tree, channel) {
  const told = channel.type === "closed"
    ? { ...channel, preview: channel.is_long ? "a long list" : "large" } : channel;
  const node = tree.row({ ...told, key: channel.name }, [channel.name]);
  node.querySelector(".acts").append(el("span.size", { title: "stored for it" }, bytes(channel.size)));
  append(node, channel.notes.map((note) => el("p.note", { dir: "auto" }, `⚠ ${note.path}: ${note.text}`)));
  return node;
}

const write = (held) =>
  el("div.write", {}, el("p", {}, el("b", { dir: "auto" }, held.node ?? "no node"), " → ", el("code", { dir: "auto" }, held.channel)), held.note ? el("p.note", {}, "⚠ ", held.note) : null, long(json(held.value) ?? "null", "pre.code"));

async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    toast("Copied " + cut(text, 60));
  } catch {
    toast("The browser does not let the page copy: " + cut(text, 200), "failed");
  }
}

function whoWrote(place, path, where) {
  const box = el("div.blame");
  const opened = dialog(`Who wrote ${cut(written(path), 80)}`, box);
  load(box, () => get("blame", { ...place, path: JSON.stringify(path) }), ({ entries }) =>
    entries.length ? el("ol", {}, entries.slice().reverse().map((entry) => el("li", {},
      el("p", {}, el("a", { href: link("thread", place.thread, { ...where.options, at: entry.checkpoint_id, ns: entry.checkpoint_ns || undefined }), onclick: () => opened.close() },
        `step ${entry.step ?? "?"}: ${made({ ...entry, nodes: entry.nodes ?? [] })}`), " ", el("span.quiet", {}, since(entry.created_at)), " ", el("code", { dir: "auto" }, cut(entry.path, 80))),
      long(json(entry.value) ?? "null", "pre.code"),
      entry.is_oldest ? el("p.quiet", {}, "the oldest checkpoint there is: it may be from before") : null)))
      : empty("Nobody is known to have written it"));
}
