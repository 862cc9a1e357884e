// A small line chart of the last minute, one sample a second and series.

const SAMPLES = 60;

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
    const y = value => height - 4 - (value / top) * (height - 16);
    const x = (index, count) => width - (count - 1 - index) * (width / (SAMPLES - 1));

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
    pen.fillText(`${top} ${this.unit}`, 0, 9);

    for (const one of this.series) {
      const color = style.getPropertyValue(`--${one.color}`);
      pen.strokeStyle = color;
      pen.lineWidth = 2;
      pen.lineJoin = "round";
      pen.beginPath();
      let down = false;
      one.values.forEach((value, index) => {
        if (value === null) down = false;
        else if (down) pen.lineTo(x(index, one.values.length), y(value));
        else { pen.moveTo(x(index, one.values.length), y(value)); down = true; }
      });
      pen.stroke();
    }
  }
}

// The next of 1, 2, 5 × 10ⁿ.
function ceiling(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  const step = [1, 2, 5, 10].find(one => one * power >= value * 0.999) ?? 10;
  return Number((step * power).toPrecision(6));
}
