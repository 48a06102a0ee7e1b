// The page as a whole: its header, its views, and which one the address names.
import { get, whenEnded } from "./api.js";
import { where } from "./address.js";
import { button, el, empty, failed, put } from "./dom.js";
import { refresh } from "./format.js";
import { help, key, listen, step } from "./keys.js";
import { MemoriesView } from "./memories.js";
import { SizesView } from "./sizes.js";
import { TABS, ThreadView } from "./thread.js";
import { ThreadList } from "./threads.js";
import { apply, theme, turn } from "./theme.js";
import { cut } from "./text.js";

const main = document.getElementById("main");
const banner = document.getElementById("banner");
const VIEWS = [["threads", "Threads", "#/"], ["memories", "Memories", "#/memories"], ["sizes", "Sizes", "#/sizes"]];

let session, list, thread, split, detail;

apply();
whenEnded((is) => put(banner, is ? el("p", {}, "The command does not answer. This page shows what it was told before.") : null));
start();

async function start() {
  try {
    session = await get("session");
  } catch (error) {
    return put(main, el("div.page", {}, failed(error, error.status === 0 ? start : undefined)));
  }
  header();
  list = new ThreadList();
  detail = el("div.detail-place");
  split = el("div.split", {}, list.node, detail);
  keys();
  addEventListener("hashchange", route);
  setInterval(refresh, 15000);
  list.load();
  route();
}

function header() {
  const themes = button(themed(), () => { themes.textContent = ""; themes.append(`${themed(turn())}`); }, { class: "icon-button", title: "Light or dark (l)", "aria-label": "Light or dark" });
  put(document.getElementById("header"),
    el("a.brand", { href: "#/" }, el("img", { src: "/static/icon.svg", alt: "", width: "22", height: "22" }), el("span", {}, "charm-checkpoint")),
    el("nav.nav", { "aria-label": "Views" }, VIEWS.map(([view, label, href]) => el("a", { href, "data-view": view }, label))),
    el("span.spacer"),
    el("code.store", { dir: "auto", title: session.store }, cut(session.store, 80)),
    el(`span.pill.is-${session.writes ? "waits" : "plain"}`, { title: session.writes ? "Changes are possible, each after a question" : "Started without --write: nothing can be changed from here" }, session.writes ? "can write" : "read-only"),
    themes,
    el("button.icon-button", { type: "button", title: "Keys (?)", "aria-label": "Keys", onclick: help }, "?"));
}

const themed = (is = theme()) => ({ auto: "◐", light: "☀", dark: "☾" })[is];

const events = {
  info: (id) => list.infos.get(id),
  changed: () => list.follower.soon(),
  gone: (id) => list.gone(id),
};

async function route() {
  const { view, name, options } = where();
  const shown = view === "thread" ? "threads" : view;
  document.title = [VIEWS.find(([each]) => each === shown)?.[1], "charm-checkpoint"].filter(Boolean).join(" · ");
  document.body.dataset.view = shown;
  document.body.dataset.open = view === "thread" || (view === "memories" && name !== undefined) ? "yes" : "no";
  for (const anchor of document.querySelectorAll(".nav a")) {
    if (anchor.dataset.view === shown) anchor.setAttribute("aria-current", "page");
    else anchor.removeAttribute("aria-current");
  }
  if (view !== "thread") leave();
  if (shown === "threads") {
    if (split.parentNode !== main) put(main, split);
    list.select(view === "thread" ? name : undefined);
    if (view !== "thread") return put(detail, el("div.detail.hint", {}, empty("Choose a thread", "j and k move, Enter opens, ? lists all keys.")));
    if (thread?.id === name && !thread.isClosed) return thread.change(options);
    leave();
    thread = new ThreadView(name ?? "", session, events);
    put(detail, thread.node);
    return thread.open(options);
  }
  if (view === "memories") {
    const memories = new MemoriesView();
    put(main, memories.node);
    return memories.show(name);
  }
  if (view === "sizes") {
    const sizes = new SizesView();
    put(main, sizes.node);
    return sizes.load();
  }
  put(main, el("div.page", {}, empty("There is nothing at this address")));
}

function leave() {
  thread?.close();
  thread = undefined;
}

function keys() {
  const moves = (by) => (event) => {
    const at = document.activeElement;
    const isElsewhere = at && at !== document.body && !at.closest(".timeline, .list");
    if (event.key.startsWith("Arrow") && isElsewhere) return false; // there, arrows scroll
    return step(at?.closest(".timeline") ? ".timeline a.moment" : ".list a.thread", by);
  };
  const inTime = (by) => () => thread && step(".timeline a.moment", by)?.click?.();
  key(["j", "ArrowDown"], "next in the list", moves(1));
  key(["k", "ArrowUp"], "previous in the list", moves(-1));
  key(["Enter"], "open it", () => false);
  key(["["], "a later checkpoint", inTime(-1));
  key(["]"], "an earlier checkpoint", inTime(1));
  TABS.forEach(([tab, label], at) => key([String(at + 1)], label.toLowerCase(), () => thread?.go({ tab }) ?? (thread ? true : false)));
  key(["c"], "compare with this checkpoint, or no longer", () => compare());
  key(["h"], "go to the head", () => thread?.go({ at: undefined, ns: undefined }));
  key(["f"], "follow what goes on, or not", () => thread?.follow(!thread.follower.isOn));
  key(["/"], "search", () => document.querySelector(".search")?.focus());
  key(["r"], "read again", () => (list.load(), thread ? thread.open(where().options) : route()));
  key(["t"], "threads", () => { location.hash = "#/"; });
  key(["m"], "memories", () => { location.hash = "#/memories"; });
  key(["s"], "sizes", () => { location.hash = "#/sizes"; });
  key(["l"], "light or dark", () => document.querySelector('[aria-label="Light or dark"]').click());
  key(["Escape"], "close", () => { document.activeElement?.blur(); return false; });
  listen();
}

function compare() {
  if (!thread) return false;
  const focused = document.activeElement?.dataset?.place?.split(" ")[1] ?? thread.current()?.checkpoint_id;
  thread.go({ base: thread.where.base === focused ? undefined : focused, tab: "changes" });
}
