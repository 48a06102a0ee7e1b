// Dark or light: what the system says, until one says otherwise.
const ORDER = ["auto", "light", "dark"];
const NAME = "charm-checkpoint-theme";

export const theme = () => (ORDER.includes(localStorage.getItem(NAME)) ? localStorage.getItem(NAME) : "auto");

export function apply() {
  if (theme() === "auto") document.documentElement.removeAttribute("data-theme");
  else document.documentElement.setAttribute("data-theme", theme());
}

export function turn() {
  localStorage.setItem(NAME, ORDER[(ORDER.indexOf(theme()) + 1) % ORDER.length]);
  apply();
  return theme();
}
