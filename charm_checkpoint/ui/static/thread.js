// One thread: its time line, and what it was at any point of it.
import { get, post } from "./api.js";
import { link, where as place } from "./address.js";
import { ConversationView, long } from "./conversation.js";
import { confirmed, toast } from "./dialogs.js";
import { diffView } from "./diff.js";
import { append, busy, button, el, empty, failed, keep, load, pill, put, scrollerOf, skip } from "./dom.js";
import { Follower } from "./follow.js";
import { bytes, count, facts, made, moment, since, space } from "./format.js";
import { notice, question } from "./questions.js";
import { report } from "./sizes.js";
import { stateView } from "./state.js";
import { cut, plain } from "./text.js";
import { pin, state as status } from "./threads.js";
import { Timeline, name } from "./timeline.js";

const PAGE = 200, RECENT = 40;
export const TABS = [["conversation", "Conversation"], ["state", "State"], ["changes", "Changes"], ["size", "Size"]];

export class ThreadView {
  constructor(id, session, events) {
    Object.assign(this, { id, session, events, rows: [], next: undefined, opened: new Set(), drafts: new Map(), where: { at: undefined, ns: "", base: undefined, tab: "conversation", options: {} } });
    this.timeline = new Timeline(id);
    this.timeline.onToggle = () => this.draw();
    this.head = el("header.thread-head");
    this.notices = el("div.notices", { "aria-live": "polite" });
    this.tabs = el("div.tabs", { role: "tablist", "aria-label": "What is shown", onkeydown: (event) => this.turn(event) });
    this.point = el("div.point");
    this.panel = el("div.panel-body.scrolls", { role: "tabpanel", id: "panel", tabindex: "0" });
    this.earlier = el("div.list-foot");
    this.dot = el("button.live", { type: "button", "data-place": "follow", onclick: () => this.follow(!this.follower.isOn) }, el("span.live-dot", { "aria-hidden": "true" }), el("span.live-text"));
    this.follower = new Follower(() => get("pulse", { thread: id }), (told, before) => this.moved(told, before), (how, error) => this.live(how, error));
    this.node = el("section.detail", { "aria-label": "Thread" },
      this.head,
      el("div.thread-body", {},
        el("div.time-column.scrolls", {}, skip("Skip the time line", () => this.panel), this.timeline.node, this.earlier),
        el("div.panel", {}, this.notices, this.point, this.tabs, this.panel)));
  }

  async open(options) {
    this.take(options);
    this.isRead = false;
    this.isGone = false;
    put(this.head, this.heading());
    put(this.earlier, busy());
    const pulse = await get("pulse", { thread: this.id }).catch(() => undefined); // before what it tells of is read
    try {
      await Promise.all([this.readHistory(), this.readInfo()]);
    } catch (error) {
      return this.broken(error);
    }
    if (this.isClosed) return;
    this.isRead = true;
    put(this.notices);
    this.draw();
    this.follower.from(pulse);
    await this.look();
  }

  // Options of the address: what is looked at, and how.
  take(options) {
    this.where = { at: options.at, ns: options.ns ?? "", base: options.base, tab: TABS.some(([tab]) => tab === options.tab) ? options.tab : "conversation", options: kept(options) };
  }

  async change(options) {
    const { at, ns } = this.where;
    this.take(options);
    if (!this.isRead) return; // the reading that is under way shows it
    this.draw();
    await this.look(false, at === this.where.at && ns === this.where.ns);
  }

  close() {
    this.isClosed = true;
    this.follower.stop();
  }

  broken(error) {
    if (this.isClosed) return;
    if (error.kind === "ThreadNotFound") return this.gone(error);
    put(this.earlier);
    put(this.notices, failed(error, () => this.open(place().options)));
    if (this.session.writes && error.status === 422) append(this.notices, [el("p", {}, button("Delete this thread…", () => this.askDelete(), { class: "button is-danger" }))]);
  }

  // It is not there, or not any more: nothing of it can be done, nor looked at.
  gone(error) {
    this.isGone = true;
    this.follower.stop();
    Object.assign(this, { rows: [], next: undefined, isRead: false });
    for (const place of [this.timeline.node, this.earlier, this.point, this.tabs, this.panel]) put(place);
    this.timeline.forget();
    put(this.notices, failed({ title: error.title, message: "It was deleted, or there never was one of this name." }, () => this.open(place().options)));
    put(this.head, this.heading());
    this.events.gone?.(this.id);
  }

  // ------------------------------------------------------------------ reading

  // What a listing tells of it, which may not have come to it yet. Its time line is shown without, too.
  async readInfo() {
    try {
      this.info = await get("thread", { thread: this.id });
    } catch (error) {
      if (error.status === 0) throw error;
    }
  }

  async readHistory() {
    const found = await get("history", { thread: this.id, limit: PAGE });
    this.rows = found.checkpoints;
    this.next = found.next;
  }

  async further() {
    put(this.earlier, busy());
    try {
      const found = await get("history", { thread: this.id, limit: PAGE, after: this.next });
      this.rows.push(...found.checkpoints);
      this.next = found.next;
      this.draw();
    } catch (error) {
      put(this.earlier, failed(error, () => this.further()));
    }
  }

  // Something changed: the latest are read again, and take their places.
  async moved(told, before) {
    if (this.isClosed) return;
    const size = told.deletes === before?.deletes ? RECENT : PAGE; // what was removed may have been anywhere
    const [found] = await Promise.all([get("history", { thread: this.id, limit: size }), this.readInfo()]);
    if (this.isClosed) return;
    if (size === PAGE) Object.assign(this, { rows: [], next: undefined });
    const fresh = new Set(found.checkpoints.map(key));
    const overlaps = this.rows.some((row) => fresh.has(key(row)));
    if (overlaps) this.rows = [...found.checkpoints, ...this.rows.filter((row) => !fresh.has(key(row)))];
    else Object.assign(this, { rows: found.checkpoints, next: found.next });
    if (!found.next) Object.assign(this, { rows: found.checkpoints, next: null });
    for (const row of this.rows.slice(found.checkpoints.length)) if (row.is_head) row.is_head = false;
    this.draw();
    if (!this.where.at || this.current()?.is_head) await this.look(true);
    if (told.failure) toast(told.failure, "failed");
    this.events.changed?.();
  }

  head_of(ns) {
    return this.rows.find((row) => row.checkpoint_ns === ns && row.is_head) ?? this.rows.find((row) => row.checkpoint_ns === ns);
  }

  current() {
    const { at, ns } = this.where;
    if (!at) return this.head_of(ns);
    const is = (row) => row?.checkpoint_id === at && row.checkpoint_ns === ns;
    return this.rows.find(is) ?? (is(this.far) ? this.far : undefined);
  }

  // ------------------------------------------------------------------ showing

  draw() {
    const row = this.current();
    this.timeline.show(this.rows, !this.next, { ...this.where, at: this.where.at ?? row?.checkpoint_id });
    put(this.earlier, this.next ? button("Earlier checkpoints", () => this.further()) : this.rows.length ? null : empty("No checkpoints", "This thread holds messages only."));
    put(this.head, this.heading());
    document.title = `${plain(cut(this.about()?.title ?? this.id, 80))} · charm-checkpoint`;
    keep(this.tabs, this.where.tab, () => TABS.map(([tab, label], at) => el("button.tab", {
      type: "button", role: "tab", id: `tab-${tab}`, "aria-controls": "panel", "aria-selected": String(tab === this.where.tab),
      tabindex: tab === this.where.tab ? "0" : "-1", title: `${label} (${at + 1})`, onclick: () => this.go({ tab }),
    }, label)));
    this.panel.setAttribute("aria-labelledby", `tab-${this.where.tab}`);
    put(this.point, row ? this.pointing(row) : null);
  }

  heading() {
    const info = this.about();
    return [
      el("a.back", { href: "#/", "aria-label": "Back to the threads" }, "‹"),
      el("div.thread-names", {},
        el("h1", { dir: "auto" }, cut(info?.title ?? this.id, 140)),
        el("p.quiet", {}, el("code.thread-id", { dir: "auto", title: cut(this.id, 400) }, cut(this.id, 60)), facts(" ", info?.checkpoints ? count(info.checkpoints, "checkpoint") : "", info?.size ? bytes(info.size) : "", since(info?.updated_at)))),
      info?.pinned ? pin() : null, info?.status ? status(info.status) : null, this.isGone ? null : this.dot,
      this.session.writes && !this.isGone ? el("div.thread-acts", {},
        info ? button(info.pinned ? "Unpin…" : "Pin…", () => this.askPin(!info.pinned), { class: "button is-quiet", "data-place": "pin" }) : null,
        button("Delete…", () => this.askDelete(), { class: "button is-quiet" })) : null,
    ];
  }

  // What is known of it as a whole.
  about() {
    return this.isGone ? undefined : this.info ?? this.events.info?.(this.id);
  }

  pointing(row) {
    const told = [row.step === null ? "" : `step ${row.step}`, row.source === "loop" ? "" : row.source, row.created_at ? moment(row.created_at) : "", row.device ? "on " + row.device : "", row.next.length ? "next: " + row.next.join(", ") : ""].filter(Boolean);
    return el("div.point-line", {},
      el("div", {},
        el("p.point-title", { dir: "auto" }, row.checkpoint_ns ? space(row.checkpoint_ns) + " › " : "", made(row), " ", row.is_head && !row.checkpoint_ns ? pill("head", "head") : null, row.is_fork ? pill("fork", "fork") : null),
        el("p.quiet", { dir: "auto" }, told.join(" · ")),
        row.note ? el("p.note", { dir: "auto" }, "⚠ " + row.note) : null),
      el("div.point-acts", {},
        this.where.at ? el("a.button.is-quiet", { href: link("thread", this.id, { ...this.where.options, at: undefined, ns: undefined }) }, "Go to the head") : null,
        this.session.writes && !row.checkpoint_ns && !row.note ? button("Fork…", () => this.askFork(row)) : null));
  }

  // `isAgain`: at the same place as before, of which more is known now; `isSame`: at that place, of which nothing is new.
  async look(isAgain = false, isSame = isAgain) {
    const row = this.current();
    if (!row && this.where.at === undefined) {
      put(this.notices);
      return this.conversation({ thread: this.id });
    }
    const at = { thread: this.id, checkpoint: this.where.at ?? row.checkpoint_id, ns: this.where.ns };
    const reading = get("state", at);
    reading.then((state) => this.tell(state, row ?? state.checkpoint), (error) => put(this.notices, failed(error)));
    if (!isSame) put(this.notices);
    await this.tab(at, row ?? (await this.beyond(reading, at)), reading, isAgain);
  }

  // A checkpoint that the time line has not come to, by what its state tells of it.
  async beyond(reading, at) {
    const state = await reading.catch(() => null);
    if (!state || this.where.at !== at.checkpoint || this.where.ns !== at.ns) return undefined;
    this.far = state.checkpoint;
    this.draw();
    return this.far;
  }

  tab(at, row, reading, isAgain) {
    const { tab } = this.where;
    if (tab === "state") return load(this.panel, () => reading, (state) => stateView(state, this.where, this.opened), isAgain);
    if (tab === "size") return load(this.panel, () => get("size", { thread: this.id }), (found) => report(found, this.where.options), isAgain);
    if (tab === "changes") return this.changes(at, row, isAgain);
    return this.conversation(at, isAgain, reading);
  }

  async conversation(asked, isAgain, reading) {
    const scroller = scrollerOf(this.panel);
    const isNew = !this.panel.contains(this.talk?.node); // what was said last is what one looks for
    const wasDown = isNew || scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight < 80;
    const goesOn = isAgain && !isNew && (await this.talk.follow(asked));
    if (!goesOn) {
      const view = (this.talk = new ConversationView(asked));
      await load(this.panel, () => view.load(), (node) => node);
    }
    await reading?.catch(() => null); // a question, once it is told above, leaves less room
    if (wasDown && scroller === this.panel) scroller.scrollTop = scroller.scrollHeight;
  }

  // From one tab to the next, as with radio buttons.
  turn(event) {
    const now = TABS.findIndex(([tab]) => tab === this.where.tab);
    const to = { ArrowRight: now + 1, ArrowLeft: now - 1, Home: 0, End: -1 }[event.key];
    if (to === undefined) return;
    const [tab] = TABS.at(to % TABS.length);
    event.preventDefault();
    document.getElementById(`tab-${tab}`).focus();
    this.go({ tab });
  }

  changes(at, row, isAgain) {
    const base = this.where.base ?? row?.parent_id;
    const others = this.rows.filter((each) => each.checkpoint_ns === at.ns && each.checkpoint_id !== at.checkpoint);
    const choose = el("label.compare", {}, "compared with ", el("select.choice", { onchange: (event) => this.go({ base: event.target.value || undefined }) },
      el("option", { value: "", selected: !this.where.base }, "the one before"),
      others.slice(0, 500).map((each) => el("option", { value: each.checkpoint_id, selected: each.checkpoint_id === this.where.base }, name(each)))));
    const first = () => empty("This is the first checkpoint", "Choose another one to compare it with.");
    const read = async () => (base ? get("diff", { thread: this.id, a: base, b: at.checkpoint, ns: at.ns }) : null);
    return load(this.panel, read, (found) => [choose, found ? diffView(found) : first()], isAgain);
  }

  // ------------------------------------------------------------------ what stopped it

  tell(state, row) {
    if (this.isClosed) return;
    const isHead = row?.is_head && !this.where.ns;
    const { failure, errors, questions, answers } = state;
    keep(this.notices, [state.checkpoint?.checkpoint_id, isHead, failure, errors, questions, answers], () => [
      state.failure ? notice("failed", "The run that was started here failed", el("p", { dir: "auto" }, state.failure)) : null,
      state.errors.map((error) => notice("failed", `${error.node ?? "A task"} failed`, long(error.text, "pre.code"))),
      state.questions.map((asked) => question(this, asked, state, isHead))]);
  }

  // ------------------------------------------------------------------ changing

  askFork(row) {
    const name = el("input.search", { type: "text", placeholder: "leave empty to go back in this thread", "aria-label": "Name of a new thread", spellcheck: "false", dir: "auto" });
    confirmed("Fork here?", [
      el("p", {}, `A copy of step ${row.step ?? "?"} (${made(row)}) becomes the head of this thread, from which the next run goes on. What came after stays as a branch.`),
      el("label.field", {}, "Or in a new thread of this name:", name),
    ], "Fork", async () => {
      const done = await post("fork", { thread: this.id, checkpoint: row.checkpoint_id, target: name.value || undefined });
      toast(done.thread_id === this.id ? "The copy is the head now" : "The new thread is there");
      this.events.changed?.();
      location.hash = link("thread", done.thread_id);
      if (done.thread_id === this.id) await this.change({}), this.follower.soon();
    });
    name.focus();
  }

  askPin(pinned) {
    const told = pinned
      ? "No retention removes anything of it: neither checkpoints nor, when it is idle, the whole. To delete it is still possible."
      : "Retention, where some is set up, may remove its older checkpoints again, and the whole when it is idle.";
    confirmed(pinned ? "Pin this thread?" : "Unpin this thread?", [el("p", {}, told)], pinned ? "Pin" : "Unpin", async () => {
      await post("pin", { thread: this.id, pinned });
      toast(pinned ? "The thread is pinned" : "The thread is not pinned any more");
      await this.readInfo();
      put(this.head, this.heading());
      this.events.changed?.();
    });
  }

  askDelete() {
    const info = this.about();
    confirmed("Delete this thread?", [
      el("p", { dir: "auto" }, el("b", {}, cut(info?.title ?? this.id, 140))),
      el("p", {}, `Its checkpoints${info?.checkpoints ? ` (${info.checkpoints})` : ""}, pending writes and messages are removed from the store. Nothing brings them back.`),
    ], "Delete", async () => {
      await post("delete", { thread: this.id });
      toast("The thread is deleted");
      this.close();
      this.events.gone?.(this.id);
      location.hash = "#/";
    }, { danger: true });
  }

  // ------------------------------------------------------------------ following, and going elsewhere

  follow(is) {
    if (is) this.follower.start();
    else this.follower.stop();
  }

  live(how, error) {
    if (error?.kind === "ThreadNotFound") return this.gone(error);
    const said = { on: "following", off: "not following", lost: "no answer" }[how];
    this.dot.className = `live is-${how}`;
    this.dot.title = how === "lost" ? error.message : how === "on" ? "What changes is shown by itself (f)" : "Follow what changes (f)";
    this.dot.querySelector(".live-text").textContent = said;
  }

  go(options) {
    const now = { ...this.where.options, at: this.where.at, ns: this.where.ns || undefined, ...options };
    location.hash = link("thread", this.id, now);
  }
}

const kept = ({ tab, base }) => ({ tab, base });
const key = (row) => row.checkpoint_ns + "\n" + row.checkpoint_id;
