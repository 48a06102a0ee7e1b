// The list of threads.
import { get } from "./api.js";
import { link } from "./address.js";
import { append, busy, button, el, empty, failed, icon, pill, put, skip } from "./dom.js";
import { Follower } from "./follow.js";
import { bytes, count, facts, since } from "./format.js";
import { cut } from "./text.js";

const FIRST = 50, MOST = 200;
export const STATES = { done: "idle", waits: "waiting", failed: "failed", unfinished: "unfinished" };
const MEANINGS = {
  done: "nothing is left to run",
  waits: "a question waits for an answer",
  failed: "a node failed",
  unfinished: "nodes are still to run: a run is at it, was ended, or stopped",
};

export const state = (status) => (status ? pill(status, STATES[status] ?? status, MEANINGS[status]) : null);

export const pin = () => el("span.pin", { title: "pinned: no retention removes anything of it", role: "img", "aria-label": "pinned" }, icon("M5 1h6v1l-1 1v4l3 3v1H8.6v4h-1.2v-4H3v-1l3-3V3L5 2z"));

export class ThreadList {
  constructor() {
    this.current = undefined;
    this.rows = new Map();
    this.infos = new Map();
    this.round = 0;
    this.search = el("input.search", {
      type: "search", placeholder: "Search titles and ids", "aria-label": "Search threads", spellcheck: "false", autocomplete: "off",
      oninput: () => { clearTimeout(this.timer); this.timer = setTimeout(() => this.load(), 250); },
    });
    this.status = choice("State", [["", "any state"], ...Object.entries(STATES)], () => this.load());
    this.order = choice("Order", [["activity", "last activity"], ["size", "size"], ["checkpoints", "checkpoints"], ["id", "id"]], () => this.load());
    this.list = el("ol.threads", { "aria-label": "Threads" });
    this.foot = el("div.list-foot");
    this.node = el("section.list", { "aria-label": "Threads" },
      el("div.list-head", {}, skip("Skip the threads", () => document.querySelector(".detail h1")), this.search, el("div.list-filters", {}, this.status, this.order)), this.list, this.foot);
    this.follower = new Follower(() => this.ask(undefined, Math.max(FIRST, Math.min(this.rows.size, MOST))), (found) => this.refreshed(found));
    new IntersectionObserver((seen) => { if (seen.some((each) => each.isIntersecting)) this.more(); }).observe(this.foot);
  }

  ask(after, limit = FIRST) {
    return get("threads", { search: this.search.value, status: this.status.value, order: this.order.value, after, limit });
  }

  async load() {
    const round = ++this.round;
    this.next = undefined;
    this.follower.stop();
    if (!this.list.childElementCount) put(this.foot, busy());
    try {
      const found = await this.ask();
      if (round !== this.round) return;
      this.rows.clear();
      this.list.replaceChildren();
      this.add(found);
      this.follower.from(found);
    } catch (error) {
      if (round === this.round) put(this.foot, failed(error, () => this.load()));
    }
  }

  async more() {
    if (!this.next || this.isAsking) return;
    const round = this.round;
    this.isAsking = true;
    try {
      const found = await this.ask(this.next);
      if (round === this.round) this.add(found);
    } catch (error) {
      if (round === this.round) put(this.foot, failed(error, () => this.more()));
    } finally {
      this.isAsking = false;
    }
  }

  add({ threads, next }) {
    this.next = next;
    append(this.list, threads.filter((info) => !this.rows.has(info.thread_id)).map((info) => this.row(info)));
    this.end();
  }

  end() {
    if (this.next) put(this.foot, button("More threads", () => this.more()));
    else if (this.list.childElementCount) put(this.foot, el("p.quiet", {}, count(this.list.childElementCount, "thread")));
    else if (this.search.value || this.status.value) put(this.foot, empty("No thread is like that"));
    else put(this.foot, empty("This store holds no threads yet", "As soon as a graph runs with it as its checkpointer, its threads are here."));
  }

  // What is shown came again. Where more is shown than one answer holds, its first came: what changed moves to the front.
  refreshed({ threads, next }) {
    const focused = document.activeElement?.dataset?.thread;
    if (!next || this.rows.size <= threads.length) {
      this.rows.clear();
      this.list.replaceChildren();
      this.next = next;
    } else for (const info of threads) this.rows.get(info.thread_id)?.remove();
    this.list.prepend(...threads.map((info) => this.row(info)));
    this.end();
    if (focused !== undefined) this.rows.get(focused)?.querySelector("a")?.focus({ preventScroll: true });
  }

  row(info) {
    const id = info.thread_id;
    const content = [
      el("span.thread-top", {},
        el("span.thread-title", { dir: "auto" }, info.title ?? (id === null ? "a thread whose name cannot be read" : cut(id || "(empty id)", 80))),
        info.pinned ? pin() : null,
        info.damage ? pill("failed", "damaged") : state(info.status)),
      info.damage ? el("span.thread-damage", {}, cut(info.damage, 160)) : null,
      el("span.thread-facts", {}, info.title && id !== null ? el("span.thread-id", { dir: "auto" }, cut(id, 36)) : null,
        el("span", {}, facts(since(info.updated_at), info.checkpoints ? count(info.checkpoints, "checkpoint") : "messages only", info.size ? bytes(info.size) : ""))),
    ];
    const row = el("li", {}, id === null
      ? el("div.thread", {}, content)
      : el("a.thread", { href: link("thread", id), "data-thread": "", "aria-current": id === this.current ? "true" : undefined }, content));
    const anchor = row.querySelector("a");
    if (anchor) anchor.dataset.thread = id;
    this.rows.set(id, row);
    this.infos.set(id, info);
    return row;
  }

  select(id) {
    for (const [held, row] of this.rows) {
      const anchor = row.querySelector("a");
      if (held === id) anchor?.setAttribute("aria-current", "true");
      else anchor?.removeAttribute("aria-current");
    }
    this.current = id;
  }

  gone(id) {
    this.rows.get(id)?.remove();
    this.rows.delete(id);
  }
}

function choice(label, pairs, onchange) {
  return el("select.choice", { "aria-label": label, title: label, onchange }, pairs.map(([value, name]) => el("option", { value }, name)));
}
