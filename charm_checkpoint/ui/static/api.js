// Asking the server. The key is of this origin alone: see access.py.
import { query } from "./address.js";

const KEY = localStorage.getItem("charm-checkpoint-key") ?? "";
const HEADERS = { "X-Charm-Checkpoint-Key": KEY };

const TITLES = {
  StoreCorrupt: "This is damaged",
  StoreUnavailable: "The store cannot be reached",
  LoginRefused: "The store refuses the login",
  ThreadNotFound: "This thread is not there",
  CheckpointNotFound: "This checkpoint is not there",
  PathNotFound: "Nothing stands there",
  Outdated: "The thread went on",
  Refused: "Not allowed here",
  ThreadExists: "That name is taken",
};

export class Failure extends Error {
  constructor(status, kind, message) {
    super(message);
    this.status = status;
    this.kind = kind;
    this.title = TITLES[kind];
  }
}

let onEnd = () => {};
export const whenEnded = (call) => { onEnd = call; };

async function ask(address, options) {
  let reply;
  try {
    reply = await fetch(address, { ...options, headers: { ...HEADERS, ...options.headers }, credentials: "same-origin", cache: "no-store" });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    onEnd(true);
    throw new Failure(0, "Ended", "The command in the terminal does not answer. Is it still running?");
  }
  onEnd(false);
  if (reply.headers.get("content-type") !== "application/json") throw new Failure(reply.status, "Stopped", await reply.text());
  const told = await reply.json();
  if (!reply.ok) throw new Failure(reply.status, told.error, told.message);
  return told;
}

export const get = (name, parameters = {}, signal) => {
  const asked = query(parameters);
  return ask(`/api/${name}${asked ? "?" + asked : ""}`, { signal });
};

export const post = (name, content) =>
  ask(`/api/${name}`, { method: "POST", body: JSON.stringify(content), headers: { "Content-Type": "application/json" } });
