// Messages as a chat.
import { get } from "./api.js";
import { append, busy, button, el, empty, failed, pill, put, scrollerOf } from "./dom.js";
import { cut } from "./text.js";

const LONG = 3000;
const COMPARED = 400, GROWTH = 50;
const ROLES = { human: "You", user: "You", ai: "Assistant", assistant: "Assistant", system: "System", tool: "Tool", function: "Function", remove: "Removed" };
const SIDES = { human: "human", user: "human", system: "system", developer: "system", tool: "tool", function: "tool" };

export const json = (value) => (typeof value === "string" ? value : JSON.stringify(value, null, 2));

// Long text in two steps, so that a page of it stays light.
export function long(text, tag = "div.text") {
  const box = el(tag, { dir: "auto" });
  if (text.length <= LONG) return append(box, [text]);
  const whole = () => put(box, text);
  return append(box, [cut(text, LONG), el("div", {}, button(`Show all ${text.length.toLocaleString("en")} characters`, whole))]);
}

function call(asked) {
  const args = json(asked.args ?? {});
  return el("details.call", { open: args.length < 200 }, el("summary", {}, el("span.call-mark", { "aria-hidden": "true" }, "→"), el("code", { dir: "auto" }, asked.name || "a tool"), asked.id ? el("span.quiet", {}, cut(asked.id, 24)) : null), long(args, "pre.code"));
}

function turn(said) {
  const side = SIDES[said.role] ?? "ai";
  const failedOne = said.status === "error";
  const who = [ROLES[said.role] ?? said.role, said.name ? " · " + cut(said.name, 60) : ""].join("");
  const extras = [said.parts.map((part) => pill("plain", part)), said.note ? el("p.note", {}, "⚠ ", said.note) : null];
  const body = said.text ? long(said.text) : null;
  return el(`article.turn.is-${side}${failedOne ? ".is-error" : ""}`, { "aria-label": who },
    el("header.turn-head", {}, el("span.who", { dir: "auto" }, who), failedOne ? pill("failed", "error") : null, said.answers ? el("span.quiet", {}, "answers " + cut(said.answers, 24)) : null),
    body, said.tool_calls.map(call), extras);
}

// A message as what it says, wherever it stands in its list.
const saying = (said) => JSON.stringify({ ...said, position: null });

export class ConversationView {
  constructor(asked) {
    this.asked = asked;
    this.said = [];
    this.top = el("div.earlier");
    this.turns = el("div.turns", { role: "log", "aria-label": "Conversation" });
    this.node = el("div.conversation", {}, this.top, this.turns);
  }

  async load() {
    const found = await get("conversation", this.asked);
    this.before = found.before;
    if (!found.turns.length) return empty("No messages here", "No channel of this state holds any.");
    this.add(found.turns);
    this.offer();
    return this.node;
  }

  add(turns) {
    append(this.turns, turns.map(turn));
    this.said.push(...turns.map(saying));
  }

  // Read the last messages again, at a later checkpoint: what came is added, and what is shown stays as it is, earlier
  // ones too. Tells whether it could: what is shown may not be in that state any more.
  async follow(asked) {
    const last = this.said.slice(-COMPARED);
    const { turns } = await get("conversation", { ...asked, limit: last.length + GROWTH });
    const now = turns.map(saying);
    const isWhole = !this.before && last.length === this.said.length;
    for (let at = isWhole ? 0 : now.length - last.length; at >= 0; at--) {
      if (last.some((each, place) => each !== now[at + place])) continue;
      this.add(turns.slice(at + last.length));
      return true;
    }
    return false;
  }

  offer() {
    put(this.top, this.before ? button("Earlier messages", () => this.earlier()) : null);
  }

  async earlier() {
    put(this.top, busy());
    try {
      const found = await get("conversation", { ...this.asked, before: this.before });
      this.before = found.before;
      const first = this.turns.firstElementChild;
      const place = first?.getBoundingClientRect().top ?? 0;
      this.turns.prepend(...found.turns.map(turn));
      this.said.unshift(...found.turns.map(saying));
      this.offer();
      const scroller = scrollerOf(this.node);
      if (first) scroller.scrollTop += first.getBoundingClientRect().top - place;
    } catch (error) {
      put(this.top, failed(error, () => this.earlier()));
    }
  }
}
