// What stopped a thread: the notice of it, and the answer that a question waits for.
import { post } from "./api.js";
import { json, long } from "./conversation.js";
import { confirmed, toast } from "./dialogs.js";
import { button, el } from "./dom.js";
import { cut } from "./text.js";

export const notice = (kind, title, ...content) => el(`section.notice.is-${kind}`, { "aria-label": title }, el("h2", {}, title), content);

// A question of a thread's view, at the state that is looked at.
export function question(view, asked, state, isHead) {
  const waits = asked.waits && isHead;
  const title = `${asked.node ?? "A node"} ${waits ? "waits for an answer" : "asked"}`;
  return notice(waits ? "waits" : "asked", title,
    typeof asked.value === "string" ? long(asked.value) : long(json(asked.value) ?? "null", "pre.code"),
    asked.note ? el("p.note", {}, "⚠ " + asked.note) : null,
    waits && state.answers.length ? el("p.stored", {}, "An answer is stored: ", el("code", { dir: "auto" }, cut(json(state.answers[0]) ?? "null", 200)), ". The program takes it when it goes on with this thread.") : null,
    waits && view.session.writes ? answering(view, asked, state) : null);
}

function answering(view, asked, state) {
  const draft = `${state.checkpoint.checkpoint_id} ${asked.id}`;
  const field = el("textarea.answer", {
    rows: "2", placeholder: "An answer: text, or JSON", "aria-label": "Answer", dir: "auto", "data-place": draft,
    value: view.drafts.get(draft) ?? "", oninput: () => view.drafts.set(draft, field.value),
  });
  const send = (answer, shown) => confirmed(
    "Answer this question?",
    [el("pre.code", { dir: "auto" }, cut(shown, 2000)), el("p", {}, view.session.runs ? "The graph goes on with it here, at once." : "It is stored with the thread. The program takes it when it goes on: graph.invoke(None, config).")],
    "Answer", async () => {
      const { outcome } = await post("answer", { thread: view.id, checkpoint: state.checkpoint.checkpoint_id, id: asked.id, answer, answered: state.answered ?? undefined });
      toast(outcome === "running" ? "The graph goes on" : "The answer is stored");
      view.drafts.delete(draft);
      view.follower.soon();
      await view.look(true);
    });
  const quick = decisions(asked.value);
  return el("div.answering", {},
    quick ? el("div.quick", {}, quick.map(([label, answer]) => button(label, () => send(answer, json(answer)), { class: label === "Approve" ? "button is-primary" : "button" }))) : null,
    field,
    button("Answer…", () => {
      const answer = parsed(field.value);
      if (answer === "") return field.focus();
      send(answer, typeof answer === "string" ? answer : json(answer));
    }));
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

// What LangChain's human in the loop asks has an answer of a known form.
function decisions(value) {
  const asked = value?.action_requests;
  if (!Array.isArray(asked) || !asked.length) return null;
  const all = (type) => ({ decisions: asked.map(() => ({ type })) });
  return [["Approve", all("approve")], ["Reject", all("reject")]];
}
