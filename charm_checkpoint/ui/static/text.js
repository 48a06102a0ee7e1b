// Text of others, made safe to look at: what would steer the text around it is shown as what it is.

// Controls but tab and line feed, marks of direction, separators, what has no width, and lone surrogates.
const UNSEEN =
  /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb]|[\u{e0000}-\u{e007f}]|\p{Cs}/gu;

const code = (char) => "\\u" + (char.codePointAt(0) > 0xffff ? "{" + char.codePointAt(0).toString(16) + "}"
  : char.codePointAt(0).toString(16).padStart(4, "0"));

// A string for attributes and for what takes strings alone.
export const plain = (text) => String(text).replace(UNSEEN, code);

// Nodes for a text: escapes stand out.
export function nodes(text) {
  const made = [];
  let from = 0;
  const whole = String(text);
  for (const found of whole.matchAll(UNSEEN)) {
    if (found.index > from) made.push(document.createTextNode(whole.slice(from, found.index)));
    const mark = document.createElement("span");
    mark.className = "escape";
    mark.textContent = code(found[0]);
    made.push(mark);
    from = found.index + found[0].length;
  }
  if (from < whole.length) made.push(document.createTextNode(whole.slice(from)));
  return made;
}

// The beginning of a text, for where there is no room: whole characters, no half of a pair.
export function cut(text, size) {
  const whole = String(text);
  if (whole.length <= size) return whole;
  const end = /[\ud800-\udbff]/.test(whole[size - 2]) ? size - 2 : size - 1;
  return whole.slice(0, end) + "…";
}
