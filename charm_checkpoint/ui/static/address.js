// Where one is, in the part of the address behind the #, which no server gets to see.
//
// Any text is an id, lone surrogates and NUL too, which encodeURIComponent refuses: so this writes them as UTF-8 would,
// and the server reads them so.

const PLAIN = /^[A-Za-z0-9_.~-]$/;

export function quote(text) {
  let out = "";
  for (const char of text) {
    if (PLAIN.test(char)) out += char;
    else for (const byte of bytes(char.codePointAt(0))) out += "%" + byte.toString(16).padStart(2, "0").toUpperCase();
  }
  return out;
}

function bytes(point) {
  if (point < 0x80) return [point];
  if (point < 0x800) return [0xc0 | (point >> 6), 0x80 | (point & 63)];
  if (point < 0x10000) return [0xe0 | (point >> 12), 0x80 | ((point >> 6) & 63), 0x80 | (point & 63)];
  return [0xf0 | (point >> 18), 0x80 | ((point >> 12) & 63), 0x80 | ((point >> 6) & 63), 0x80 | (point & 63)];
}

export function unquote(quoted) {
  const found = [];
  for (let at = 0; at < quoted.length; at++) {
    const hex = quoted[at] === "%" ? /^[0-9a-fA-F]{2}/.exec(quoted.slice(at + 1, at + 3)) : null;
    if (hex) {
      found.push(parseInt(hex[0], 16));
      at += 2;
    } else found.push(...bytes(quoted.codePointAt(at)));
  }
  let text = "";
  for (let at = 0; at < found.length; ) {
    const first = found[at];
    const more = first < 0x80 ? 0 : first < 0xe0 ? 1 : first < 0xf0 ? 2 : 3;
    let point = more === 0 ? first : first & (more === 1 ? 31 : more === 2 ? 15 : 7);
    for (let step = 1; step <= more; step++) point = (point << 6) | ((found[at + step] ?? 0) & 63);
    text += String.fromCodePoint(Math.min(point, 0x10ffff));
    at += more + 1;
  }
  return text;
}

export function query(parameters) {
  return Object.entries(parameters)
    .filter(([, value]) => value !== undefined && value !== null && value !== "")
    .map(([name, value]) => `${quote(name)}=${quote(String(value))}`)
    .join("&");
}

// #/thread/ID?tab=state&at=CHECKPOINT
export function where(hash = location.hash) {
  const [path, asked = ""] = hash.replace(/^#\/?/, "").split("?");
  const [view, name] = path.split("/");
  const options = {};
  for (const pair of asked.split("&")) {
    const [key, value = ""] = pair.split("=");
    if (key) options[unquote(key)] = unquote(value);
  }
  return { view: view || "threads", name: name === undefined ? undefined : unquote(name), options };
}

export function link(view, name, options = {}) {
  const asked = query(options);
  return `#/${view}${name === undefined ? "" : "/" + quote(name)}${asked ? "?" + asked : ""}`;
}
