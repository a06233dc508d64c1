const find = (selector) => element.querySelector(selector);
const stage = find(".stage"), frame = find(".frame"), photo = find(".photo"), mask = find(".mask"), depth = find(".depth");
const ink = find(".ink"), mark = find(".mark"), brush = find(".brush input"), pen = ink.getContext("2d");
const HINTS = {
  pick: "Click what should be sharp, or box it in.",
  add: "Paint what else is subject.",
  erase: "Paint what is not subject.",
};
const COLOURS = { pick: "#ffffff", add: "#37c871", erase: "#ff5c5c" };
const LEAST_BOX = 0.03; // of the picture's sides; a smaller drag is a click
const KEYS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const KEY_STEP = 0.02; // of the picture's sides
let tool = "pick", view = "subject", drawn = null, cursor = [0.5, 0.5];

const show = () => {
  const value = props.value || {};
  mask.classList.toggle("shown", Boolean(value.mask) && view === "subject");
  depth.classList.toggle("shown", Boolean(value.depth) && view === "depth");
  mark.classList.toggle("shown", Boolean(value.mark));
  if (value.mark) {
    mark.style.left = `${100 * value.mark[0]}%`;
    mark.style.top = `${100 * value.mark[1]}%`;
  }
  for (const button of element.querySelectorAll("[data-tool], [data-view]")) {
    const on = button.dataset.tool === tool || button.dataset.view === view;
    button.classList.toggle("on", on);
    button.setAttribute("aria-pressed", on);
  }
  stage.classList.toggle("painting", tool !== "pick");
  find(".hint").textContent = HINTS[tool];
};

const receive = () => {
  const value = props.value || {};
  if (value.photo) photo.src = value.photo;
  mask.src = value.mask || "data:,";
  depth.src = value.depth || "data:,";
  clear();
  show();
};

const clear = () => {
  const box = frame.getBoundingClientRect();
  ink.width = box.width;
  ink.height = box.height;
};

const limit = (value) => Math.min(Math.max(value, 0), 0.9999);

const locate = (event) => {
  const box = frame.getBoundingClientRect();
  return [limit((event.clientX - box.left) / box.width), limit((event.clientY - box.top) / box.height)];
};

const radius = () => brush.value / 100; // of the longer side

const trace = (points) => {
  clear();
  pen.strokeStyle = pen.fillStyle = COLOURS[tool];
  const at = points.map(([x, y]) => [x * ink.width, y * ink.height]);
  if (tool === "pick") {
    const [[left, top], [right, bottom]] = [at[0], at[at.length - 1]];
    pen.lineWidth = 2;
    pen.strokeRect(left, top, right - left, bottom - top);
    return;
  }
  const reach = radius() * Math.max(ink.width, ink.height);
  pen.globalAlpha = 0.5;
  pen.lineCap = pen.lineJoin = "round";
  pen.lineWidth = 2 * reach;
  pen.beginPath();
  pen.moveTo(...at[0]);
  for (const point of at) pen.lineTo(...point);
  pen.stroke();
};

const ring = (point) => {
  clear();
  pen.strokeStyle = COLOURS[tool];
  pen.lineWidth = 2;
  pen.beginPath();
  pen.arc(point[0] * ink.width, point[1] * ink.height, radius() * Math.max(ink.width, ink.height), 0, 7);
  pen.stroke();
};

frame.addEventListener("pointerdown", (event) => {
  if (event.button !== 0) return;
  frame.setPointerCapture(event.pointerId);
  drawn = [locate(event)];
  if (tool !== "pick") trace(drawn);
});

frame.addEventListener("pointermove", (event) => {
  if (!drawn) {
    if (tool !== "pick") ring(locate(event));
    return;
  }
  drawn.push(locate(event));
  trace(drawn);
});

frame.addEventListener("pointerleave", () => { if (!drawn && tool !== "pick") clear(); });

frame.addEventListener("pointercancel", () => { drawn = null; clear(); });

frame.addEventListener("pointerup", () => {
  if (!drawn) return;
  const points = drawn;
  drawn = null;
  if (tool !== "pick") {
    trigger("stroke", { points, radius: radius(), adds: tool === "add" });
    return;
  }
  const [[x0, y0], [x1, y1]] = [points[0], points[points.length - 1]];
  const [width, height] = [Math.abs(x1 - x0), Math.abs(y1 - y0)];
  const isBox = width > LEAST_BOX && height > LEAST_BOX;
  clear();
  trigger("pick", isBox ? { x: Math.min(x0, x1), y: Math.min(y0, y1), width, height } : { x: x1, y: y1 });
});

frame.addEventListener("keydown", (event) => {
  const way = KEYS[event.key];
  if (way) cursor = cursor.map((at, axis) => limit(at + KEY_STEP * way[axis]));
  if (way || event.key === "Enter") event.preventDefault();
  if (way) ring(cursor);
  if (event.key !== "Enter") return;
  clear();
  const [x, y] = cursor;
  if (tool === "pick") trigger("pick", { x, y });
  else trigger("stroke", { points: [cursor], radius: radius(), adds: tool === "add" });
});

frame.addEventListener("blur", clear);

element.addEventListener("click", (event) => {
  const { tool: chosen, view: shown, act } = event.target.closest("button")?.dataset || {};
  if (chosen) tool = chosen;
  if (chosen && chosen !== "pick") view = "subject";
  if (shown) view = view === shown ? "photo" : shown;
  if (act === "undo") trigger("undo_stroke");
  if (act === "reset") trigger("start_over");
  show();
});

watch("value", receive);
receive();
