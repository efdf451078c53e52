// Data in the page: base64 of gzip, in script elements that the browser does not run.
const TYPES = { uint8: Uint8Array, uint16: Uint16Array, uint32: Uint32Array, int16: Int16Array };

async function bytesOf(name) {
  const element = document.getElementById(`data-${name}`);
  if (!element) return null;
  const coded = atob(element.textContent.trim());
  const bytes = new Uint8Array(coded.length);
  for (let i = 0; i < coded.length; i++) bytes[i] = coded.charCodeAt(i);
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).arrayBuffer();
}
async function textOf(name) {
  const bytes = await bytesOf(name);
  return bytes && new TextDecoder().decode(bytes);
}
async function jsonOf(name) {
  const text = await textOf(name);
  return text && JSON.parse(text);
}
async function arrayOf(name, type) {
  const bytes = await bytesOf(name);
  return bytes && new TYPES[type](bytes);
}

// Elements are made with text, never with HTML, so that a title is only ever a title.
function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name in element) element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}
const count = (number) => number.toLocaleString("en-US");
