"""Words that can hardly be told from their ground, found by a script in a page."""

from __future__ import annotations

# Every word in HTML and in drawings against the card that it stands on: WCAG 2.2's contrast of 4.5 (success
# criterion 1.4.3).
FAINT_WORDS = """
() => {
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const luminance = (color) => {
    canvas.fillStyle = color;
    canvas.fillRect(0, 0, 1, 1);
    const [red, green, blue] = [...canvas.getImageData(0, 0, 1, 1).data].map((byte) => {
      const share = byte / 255;
      return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
  };
  const ground = (element) => {
    for (let one = element; one; one = one.parentElement) {
      const color = getComputedStyle(one).backgroundColor;
      if (!color.endsWith(", 0)")) return color;
    }
    return "white";
  };
  const faint = [];
  const blocks = "h1, h2, h3, p, td, th, li, dt, dd, summary, caption, figcaption";
  const words = `${blocks}, span, b, code, .is, .reason, svg text`;
  for (const element of document.querySelectorAll(words)) {
    const style = getComputedStyle(element);
    const ink = element instanceof SVGElement ? style.fill : style.color;
    const pair = [luminance(ink), luminance(ground(element))].sort((a, b) => b - a);
    const contrast = (pair[0] + 0.05) / (pair[1] + 0.05);
    if (element.textContent.trim() && contrast < 4.5) faint.push(`${element.textContent.slice(0, 40)}: ${contrast}`);
  }
  return faint.join("; ");
}
"""
