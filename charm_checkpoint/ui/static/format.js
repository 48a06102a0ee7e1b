// Numbers, sizes and times as people read them.
import { el } from "./dom.js";

const UNITS = ["B", "kB", "MB", "GB", "TB"];

export function bytes(count) {
  if (count === null || count === undefined) return "";
  let size = count, unit = 0;
  while (Math.abs(size) >= 999.5 && unit < UNITS.length - 1) [size, unit] = [size / 1000, unit + 1];
  return `${unit && Math.abs(size) < 9.95 ? size.toFixed(1) : Math.round(size)} ${UNITS[unit]}`;
}

export const count = (number, one, many = one + "s") => `${Number(number).toLocaleString("en")} ${number === 1 ? one : many}`;

const SPANS = [[60, 1, "s"], [3600, 60, "min"], [86400, 3600, "h"], [86400 * 14, 86400, "d"], [86400 * 70, 86400 * 7, "w"], [86400 * 730, 86400 * 30.44, "mo"], [Infinity, 86400 * 365.25, "y"]];

// A time as its distance, which goes on: see refresh.
export const since = (time) => (time ? el("time", { datetime: time, title: moment(time) }, ago(time)) : null);

export const refresh = () => {
  for (const each of document.querySelectorAll("time")) each.textContent = ago(each.dateTime);
};

// Some facts in a line, with dots between those that there are.
export const facts = (...all) => all.filter(Boolean).flatMap((fact, at) => (at ? [" · ", fact] : [fact]));

export function ago(time) {
  if (!time) return "";
  const seconds = (Date.now() - Date.parse(time)) / 1000;
  if (seconds < 5) return seconds < -60 ? "ahead of this clock" : "now";
  const [, size, name] = SPANS.find(([below]) => seconds < below);
  return `${Math.floor(seconds / size)} ${name} ago`;
}

export const moment = (time) => (time ? new Date(time).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "medium" }) : "");

// The node that a namespace is of: "researcher:1f0a…|writer:22…" is what runs inside of both.
export const space = (ns) => ns.split("|").map((part) => part.replace(/:[0-9a-f-]{36}$/, "")).join(" › ");

export function made(info) {
  if (info.source === "loop" || info.nodes.length) return info.nodes.map((node) => (node === "__start__" ? "start" : node)).join(", ") || "no node";
  return { input: "input", update: "state update", fork: "fork" }[info.source] ?? info.source ?? "unknown";
}

export const short = (id) => (/^[0-9a-f]{8}-[0-9a-f]{4}-6/.test(id) ? id.slice(0, 8) + "…" + id.slice(-4) : id.length > 24 ? id.slice(0, 23) + "…" : id);

// messages[3].content, as the command takes it.
export const path = (parts) =>
  parts.map((part, at) => (typeof part === "number" ? `[${part}]` : /^[^\s.[\]"']+$/.test(part) ? (at ? "." : "") + part : `[${JSON.stringify(part)}]`)).join("");
