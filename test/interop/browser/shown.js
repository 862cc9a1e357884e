// Put into pages: what a viewer sees of a video.

// When a video element shows frames, from here on.
window.Shown = class {
  constructor(element) {
    this.times = [];
    this.widths = new Set();
    const note = (now, { width }) => {
      this.times.push(now);
      this.widths.add(width);
      this.width = width;
      element.requestVideoFrameCallback(note);
    };
    element.requestVideoFrameCallback(note);
  }

  // The longest time without a new frame, in ms; that since the last one counts.
  get longest() {
    const times = [...this.times, performance.now()];
    return Math.max(...times.slice(1).map((at, i) => at - times[i]));
  }
};
