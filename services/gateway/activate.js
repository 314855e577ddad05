// The link in the mail has the code in its fragment, which browsers send to no server.
const code = document.getElementById("code");
if (code && location.hash.length > 1) {
  code.value = decodeURIComponent(location.hash.slice(1));
  history.replaceState(null, "", location.pathname);
  document.querySelector("button[type=submit]").focus();
}

// Without this script the password stays hidden, and the button too.
const show = document.getElementById("show");
if (show) {
  const password = document.getElementById("password");
  show.hidden = false;
  show.addEventListener("click", () => {
    const hidden = password.type === "password";
    password.type = hidden ? "text" : "password";
    show.textContent = hidden ? show.dataset.hide : show.dataset.show;
  });
}
