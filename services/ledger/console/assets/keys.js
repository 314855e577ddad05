// Keys of lists and of decisions; the footer of each page documents them.

const rows = () => [...document.querySelectorAll("[data-row]")];

function move(step) {
  const all = rows();
  if (all.length === 0) return;
  const at = all.findIndex((row) => row.contains(document.activeElement));
  const next = at < 0 ? (step > 0 ? 0 : all.length - 1) : Math.min(Math.max(at + step, 0), all.length - 1);
  all[next].querySelector("a").focus();
  all[next].scrollIntoView({ block: "nearest" });
}

// decide goes to a form's first choice, or to its button, so that Enter sends it.
function decide(key) {
  const form = document.querySelector(`form[data-key="${key}"]`);
  if (!form) return false;
  const choice = form.querySelector("input[type=radio]");
  if (choice) choice.checked = true;
  (choice ?? form.querySelector("button")).focus();
  return true;
}

const typing = (e) => e.target instanceof HTMLElement && e.target.matches("input:not([type=radio]), textarea, select");

document.addEventListener("keydown", (e) => {
  if (e.ctrlKey || e.metaKey || e.altKey || typing(e)) return;
  switch (e.key) {
    case "j": move(1); break;
    case "k": move(-1); break;
    case "a": case "r": if (!decide(e.key)) return; break;
    case "/": {
      const search = document.querySelector("[data-search]");
      if (!search) return;
      search.focus();
      break;
    }
    default: return;
  }
  e.preventDefault();
});

// On a phone the navigation is wider than the window.
document.querySelector("nav [aria-current=page]")?.scrollIntoView({ block: "nearest", inline: "center" });

// A form is sent once, however often its button is pressed.
document.addEventListener("submit", (e) => {
  if (e.target.method !== "post") return;
  for (const button of e.target.querySelectorAll("button[type=submit]")) button.disabled = true;
});
window.addEventListener("pageshow", () => {
  for (const button of document.querySelectorAll("button[type=submit]:disabled")) button.disabled = false;
});
