// What is sent: the camera and microphone, or a picture and a tone made here.

export async function openSource(wanted) {
  if (wanted === "generated") return { stream: generate(), notice: null };
  if (!navigator.mediaDevices)
    return { stream: generate(), notice: "Browsers give cameras only to localhost and HTTPS pages: sending a generated picture and tone." };

  try {
    const stream = await navigator.mediaDevices.getUserMedia({
      video: { width: { ideal: 1280 }, height: { ideal: 720 } },
      audio: true,
    });
    return { stream, notice: null };
  } catch (error) {
    const why = {
      NotFoundError: "There is no camera or microphone here",
      NotAllowedError: "The camera was not allowed",
      NotReadableError: "The camera is in use by something else",
      OverconstrainedError: "The camera has no fitting picture",
    }[error.name] ?? `The camera could not be opened (${error.message})`;
    return { stream: generate(), notice: `${why}: sending a generated picture and tone.` };
  }
}

function generate() {
  const canvas = document.createElement("canvas");
  canvas.width = 1280;
  canvas.height = 720;
  const draw = canvas.getContext("2d", { alpha: false });
  const started = performance.now();
  let frame = 0;
  const paint = () => picture(draw, canvas.width, canvas.height, (performance.now() - started) / 1000, frame++);
  paint();
  // Not requestAnimationFrame: that stops while another tab is in front.
  const timer = setInterval(paint, 1000 / 30);

  const audio = new AudioContext();
  audio.resume();
  const out = audio.createMediaStreamDestination();
  const volume = audio.createGain();
  volume.gain.value = 0.12;
  volume.connect(out);
  const [low, high] = [220, 330].map(pitch => {
    const tone = audio.createOscillator();
    tone.frequency.value = pitch;
    tone.connect(volume);
    tone.start();
    return tone;
  });
  const sway = audio.createOscillator();
  const depth = audio.createGain();
  sway.frequency.value = 0.5;
  depth.gain.value = 0.08;
  sway.connect(depth).connect(volume.gain);
  sway.start();

  const stream = canvas.captureStream(30);
  stream.addTrack(out.stream.getAudioTracks()[0]);
  // A stopped canvas track fires no event; whoever stops the source calls this.
  stream.release = () => {
    clearInterval(timer);
    for (const tone of [low, high, sway]) tone.stop();
    audio.close();
  };
  return stream;
}

function picture(draw, width, height, time, frame) {
  const sky = draw.createLinearGradient(0, 0, width, height);
  sky.addColorStop(0, `hsl(${(258 + 18 * Math.sin(time / 3)) % 360} 62% 22%)`);
  sky.addColorStop(1, `hsl(${(318 + 30 * Math.sin(time / 4)) % 360} 58% 30%)`);
  draw.fillStyle = sky;
  draw.fillRect(0, 0, width, height);

  for (let wave = 0; wave < 4; wave++) {
    draw.beginPath();
    draw.moveTo(0, height);
    for (let x = 0; x <= width; x += 20) {
      const y = height * (0.55 + wave * 0.1) + Math.sin(x / (170 + 50 * wave) + time * (0.7 + wave * 0.3)) * (46 - wave * 7);
      draw.lineTo(x, y);
    }
    draw.lineTo(width, height);
    draw.fillStyle = `hsl(${262 + wave * 24} 70% ${46 + wave * 7}% / .42)`;
    draw.fill();
  }

  const radius = 58;
  const x = radius + Math.abs(((time * 260) % (2 * (width - 2 * radius))) - (width - 2 * radius));
  const y = height * 0.64 - Math.abs(Math.sin(time * 2.2)) * height * 0.22;
  const ball = draw.createRadialGradient(x - 18, y - 18, 6, x, y, radius);
  ball.addColorStop(0, "#fff4d6");
  ball.addColorStop(1, "#f4823c");
  draw.fillStyle = ball;
  draw.beginPath();
  draw.arc(x, y, radius, 0, 2 * Math.PI);
  draw.fill();

  draw.fillStyle = "#ffffff";
  draw.textAlign = "center";
  draw.font = "700 92px system-ui, sans-serif";
  draw.fillText(new Date().toTimeString().slice(0, 8) + "." + String(Date.now() % 1000).padStart(3, "0").slice(0, 1), width / 2, 150);
  draw.font = "500 34px system-ui, sans-serif";
  draw.fillStyle = "rgb(255 255 255 / .75)";
  draw.fillText(`generated picture, frame ${frame}`, width / 2, 206);
}
