// The page that the link opens: it keeps the key for this origin, and goes on to the page itself.
const key = document.querySelector('meta[name="key"]').content;
try {
  localStorage.setItem("charm-checkpoint-key", key);
  location.replace("/");
} catch (error) {
  document.addEventListener("DOMContentLoaded", () => {
    document.getElementById("told").textContent = "The browser lets this page store nothing, which it needs to.";
  });
}
