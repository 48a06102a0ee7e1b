// Long-term memory: namespaces, and the items in them; durable memories are shown as what they are.
import { get } from "./api.js";
import { link } from "./address.js";
import { append, button, el, empty, failed, load, pill, put, skip } from "./dom.js";
import { count, facts, since } from "./format.js";
import { cut } from "./text.js";
import { Tree } from "./tree.js";

const isMemory = (value) => typeof value?.title === "string" && typeof value.body === "string" && typeof value.kind === "string" && typeof value.status === "string";

// The namespace that an address names: all of them, or undefined where it names none.
function named(name) {
  if (name === undefined) return [];
  try {
    const labels = JSON.parse(name);
    return Array.isArray(labels) && labels.every((each) => typeof each === "string") ? labels : undefined;
  } catch {
    return undefined;
  }
}

const label = (namespace) => (namespace.length ? namespace.map((part) => cut(part, 60)).join(" / ") : "all");

export class MemoriesView {
  constructor() {
    this.list = el("ol.namespaces", { "aria-label": "Namespaces" });
    this.body = el("div.items");
    this.search = el("input.search", { type: "search", placeholder: "Search what they say", "aria-label": "Search items", spellcheck: "false", oninput: () => { clearTimeout(this.timer); this.timer = setTimeout(() => this.namespace && this.items(), 300); } });
    this.node = el("div.split", {},
      el("section.list", { "aria-label": "Namespaces" }, el("div.list-head", {}, skip("Skip the namespaces", () => document.querySelector(".detail h1")), this.search), this.list),
      el("section.detail.scrolls", { "aria-label": "Items" }, this.body));
  }

  async show(name) {
    this.namespace = named(name);
    if (!this.namespace) put(this.body, empty("There is no such namespace", "The address names none; choose one of the list."));
    await Promise.all([this.namespaces(), this.namespace ? this.items() : null]);
  }

  namespaces() {
    return load(this.list, async () => {
      const all = [];
      let found;
      do {
        found = await get("namespaces", { offset: all.length, limit: 500 });
        all.push(...found.namespaces);
      } while (found.more && all.length < 5000);
      return all;
    }, (all) => [[], ...all].map((each) => el("li", {}, el("a.thread", {
      href: link("memories", JSON.stringify(each)), dir: "auto", "aria-current": JSON.stringify(each) === JSON.stringify(this.namespace) ? "true" : undefined,
    }, label(each)))));
  }

  items() {
    const namespace = this.namespace;
    return load(this.body, () => this.ask(0), (found) => {
      if (!found.items.length) return empty(this.search.value ? "No item says anything like that" : "Nothing is remembered here", "Items that programs put into LangGraph's store, and durable memories, are here.");
      const cards = el("div.cards", {}, found.items.map((each) => card(each)));
      return [el("h1", { dir: "auto" }, label(namespace)), cards, this.further(cards, found)];
    });
  }

  ask(offset) {
    return get("items", { namespace: JSON.stringify(this.namespace), search: this.search.value, offset, limit: 50 });
  }

  further(cards, found) {
    const foot = el("div.list-foot");
    const shown = cards.childElementCount;
    if (!found.more) return append(foot, [el("p.quiet", {}, count(shown, "item"))]);
    put(foot, button("More items", async () => {
      try {
        const next = await this.ask(shown);
        append(cards, next.items.map((each) => card(each)));
        foot.replaceWith(this.further(cards, next));
      } catch (error) {
        put(foot, failed(error));
      }
    }));
    return foot;
  }
}

function card(item) {
  const place = { namespace: JSON.stringify(item.namespace), key: item.key };
  const tree = new Tree((path, offset) => get("item", { ...place, path: JSON.stringify(path), offset }));
  const whole = tree.row({ key: isMemory(item.value) ? "all of it" : "value", type: "closed", preview: isMemory(item.value) ? "" : brief(item.value) }, []);
  return el("article.card", {},
    el("header.card-head", {}, el("h2", { dir: "auto" }, cut(isMemory(item.value) ? item.value.title : item.key || "(empty key)", 200)), isMemory(item.value) ? marks(item.value) : null),
    isMemory(item.value) ? el("p.card-body", { dir: "auto" }, cut(item.value.body, 1200)) : null,
    whole,
    el("p.quiet", { dir: "auto" }, facts(item.namespace.map((part) => cut(part, 40)).join(" / "), since(item.updated_at))));
}

const marks = (value) => [
  pill(value.kind === "rule" ? "waits" : value.kind === "lesson" ? "fork" : "plain", value.kind),
  value.status === "active" ? null : pill("failed", value.status),
  Array.isArray(value.tags) ? value.tags.slice(0, 8).map((tag) => pill("plain", "#" + cut(String(tag), 30))) : null,
];

const brief = (value) => cut(JSON.stringify(value), 240);
