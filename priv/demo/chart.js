// A small line chart, one sample a second and series: at first the last twenty seconds fill its
// width, then it takes in up to the last minute.

const SAMPLES = 60;
const FIRST = 20;

export class Chart {
  constructor(parent, { title, unit, keys, digits = 0, least = 1 }) {
    this.unit = unit;
    this.digits = digits;
    this.least = least;
    this.title = title;
    this.series = keys.map(({ name, color }) => ({ name, color, values: [] }));

    const card = document.createElement("section");
    card.className = "card chart";
    card.setAttribute("aria-label", title);
    const header = document.createElement("header");
    const heading = document.createElement("h2");
    heading.textContent = title;
    header.append(heading);
    for (const one of this.series) {
      const key = document.createElement("span");
      key.className = `key ${one.color}`;
      one.label = document.createElement("b");
      one.label.textContent = "–";
      key.append(`${one.name} `, one.label);
      header.append(key);
    }
    this.canvas = document.createElement("canvas");
    this.canvas.setAttribute("role", "img");
    this.canvas.setAttribute("aria-label", `${title}: no values yet`);
    card.append(header, this.canvas);
    parent.append(card);
    new ResizeObserver(() => this.draw()).observe(this.canvas);
  }

  clear() {
    for (const one of this.series) {
      one.values = [];
      one.label.textContent = "–";
    }
    this.canvas.dataset.samples = 0;
    this.draw();
  }

  // One value per series; null where there is none this time.
  push(values) {
    this.series.forEach((one, index) => {
      const value = Number.isFinite(values[index]) ? values[index] : null;
      one.values.push(value);
      if (one.values.length > SAMPLES) one.values.shift();
      one.label.textContent = this.format(value);
    });
    this.canvas.dataset.samples = this.series[0].values.length;
    this.canvas.setAttribute("aria-label",
      `${this.title}: ` + this.series.map(one => `${one.name} ${one.label.textContent}`).join(", "));
    this.draw();
  }

  format(value) {
    return value === null ? "–" : `${value.toFixed(value < 10 ? this.digits : Math.max(0, this.digits - 1))} ${this.unit}`;
  }

  draw() {
    const scale = window.devicePixelRatio || 1;
    const { clientWidth: width, clientHeight: height } = this.canvas;
    if (width === 0) return;
    this.canvas.width = width * scale;
    this.canvas.height = height * scale;
    const pen = this.canvas.getContext("2d");
    const style = getComputedStyle(document.documentElement);
    pen.scale(scale, scale);

    const top = ceiling(Math.max(this.least, ...this.series.flatMap(one => one.values.filter(v => v !== null))));
    const [upper, lower] = [16, height - 16];
    const y = value => lower - (value / top) * (lower - upper);
    const span = Math.min(SAMPLES, Math.max(FIRST, ...this.series.map(one => one.values.length)));
    // Room for the dot at the newest value.
    const x = (index, count) => width - 4 - (count - 1 - index) * ((width - 4) / (span - 1));

    pen.strokeStyle = style.getPropertyValue("--line");
    pen.fillStyle = style.getPropertyValue("--soft");
    pen.font = "11px system-ui, sans-serif";
    pen.lineWidth = 1;
    for (const share of [0, 0.5, 1]) {
      const line = Math.round(y(top * share)) + 0.5;
      pen.beginPath();
      pen.moveTo(0, line);
      pen.lineTo(width, line);
      pen.stroke();
    }
    pen.fillText(`${top} ${this.unit}`, 0, upper - 5);
    pen.fillText(`${span} s ago`, 0, height - 2);
    pen.textAlign = "right";
    pen.fillText("now", width, height - 2);
    pen.textAlign = "left";

    for (const one of this.series) {
      const color = style.getPropertyValue(`--${one.color}`);
      pen.strokeStyle = color;
      pen.lineWidth = 2;
      pen.lineJoin = "round";
      pen.fillStyle = color;
      for (const run of runs(one.values)) {
        const points = run.map(index => [x(index, one.values.length), y(one.values[index])]);
        pen.beginPath();
        for (const point of points) pen.lineTo(...point);
        pen.stroke();
        pen.lineTo(points.at(-1)[0], lower);
        pen.lineTo(points[0][0], lower);
        pen.globalAlpha = 0.12;
        pen.fill();
        pen.globalAlpha = 1;
      }
      const last = one.values.length - 1;
      if (last < 0 || one.values[last] === null) continue;
      pen.beginPath();
      pen.arc(x(last, one.values.length), y(one.values[last]), 3, 0, 2 * Math.PI);
      pen.fill();
    }
  }
}

// The indices of values without a gap between them.
function runs(values) {
  const all = [];
  values.forEach((value, index) => {
    if (value === null) return;
    if (index > 0 && values[index - 1] !== null) all.at(-1).push(index);
    else all.push([index]);
  });
  return all;
}

// The next of 1, 2, 5 × 10ⁿ.
function ceiling(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  const step = [1, 2, 5, 10].find(one => one * power >= value * 0.999) ?? 10;
  return Number((step * power).toPrecision(6));
}
