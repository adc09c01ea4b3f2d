// The texts of the page, which stand in one file, web/texts.json.

const texts = await (await fetch("/static/texts.json")).json();

// A text with its {values} filled in.
export function t(name, values = {}) {
  const text = texts[name];
  if (text === undefined) throw new Error(`there is no text ${name}`);
  return text.replace(/\{(\w+)\}/g, (_, value) => values[value]);
}
