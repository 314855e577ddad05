// The picture of the pipeline, kept up to date by server-sent events.

const tones = { working: "good", stopped: "bad", behind: "wait", retrying: "wait" };
const samples = 60;
const rates = new Map();

function put(stage, name, text) {
  const node = stage.querySelector(`[data-is="${name}"]`);
  if (node.textContent !== text) node.textContent = text;
  return node;
}

const number = (n) => n.toLocaleString("en");
const age = (s) => (s === 0 ? "–" : s < 120 ? `${Math.round(s)} s` : s < 7200 ? `${Math.round(s / 60)} min` : `${Math.round(s / 3600)} h`);

function spark(stage, rate) {
  const seen = rates.get(stage) ?? [];
  seen.push(rate);
  if (seen.length > samples) seen.shift();
  rates.set(stage, seen);
  const top = Math.max(1, ...seen);
  const left = 120 - (seen.length - 1) * (120 / (samples - 1));
  const points = seen.map((r, i) => `${(left + i * (120 / (samples - 1))).toFixed(1)},${(27 - (r / top) * 25).toFixed(1)}`);
  stage.querySelector(".spark polyline").setAttribute("points", points.join(" "));
}

function draw(s) {
  const stage = document.querySelector(`[data-stage="${s.service}"]`);
  if (!stage) {
    location.reload(); // the first picture came after the page
    return;
  }
  stage.dataset.state = s.state;
  stage.dataset.moving = s.rate > 0.05;
  put(stage, "state", s.state).className = `chip ${tones[s.state]}`;
  put(stage, "rate", s.rate < 100 ? s.rate.toFixed(1) : number(Math.round(s.rate)));
  put(stage, "pending", number(s.pending));
  put(stage, "unacked", number(s.unacked));
  put(stage, "oldest", age(s.oldest));
  put(stage, "redelivered", number(s.redelivered));
  put(stage, "dead", number(s.dead)).classList.toggle("some", s.dead > 0);
  put(stage, "why", s.why ?? "").hidden = !s.why;
  spark(stage, s.rate);
}

function tell(picture) {
  const texts = picture.stages.filter((s) => s.state === "stopped").map((s) => s.why);
  if (picture.problem) texts.unshift(picture.problem);
  const alerts = document.getElementById("alerts");
  if ([...alerts.children].map((p) => p.textContent).join("\n") === texts.join("\n")) return;
  alerts.replaceChildren(...texts.map((text) => {
    const p = document.createElement("p");
    p.className = "bad";
    p.textContent = text;
    return p;
  }));
}

function show(now) {
  if (now.stages) {
    now.stages.forEach(draw);
    tell(now);
  }
  for (const node of document.querySelectorAll("[data-count]")) {
    const n = now.counts.statuses[node.dataset.count] ?? 0;
    node.textContent = number(n);
    node.parentElement.classList.toggle("none", n === 0);
  }
  document.getElementById("oldest-open").textContent = age(now.counts.oldestSeconds);
}

const line = document.getElementById("as-of");
const words = document.getElementById("connection");

const source = new EventSource(line.dataset.stream);
source.addEventListener("message", (e) => {
  line.dataset.live = "true";
  words.textContent = "live";
  show(JSON.parse(e.data));
});
source.addEventListener("error", () => {
  line.dataset.live = "false";
  words.textContent = source.readyState === EventSource.CLOSED ? "not live; sign in again" : "not live; connecting";
});
