// What a correction changes, word by word. The browser's own segmenter says what a word is: in Chinese, Japanese and
// Thai too, where no spaces do.

const LIBRARY = new URL("../vendor/jsdiff/diff.min.js", import.meta.url);
const MOST = 60_000;
let loading = null;

function library() {
  loading ??= import(LIBRARY).then(() => globalThis.Diff);
  return loading;
}

export async function showDiff(editor, place) {
  const before = editor.dataset.original.replace(/\r\n/g, "\n");
  const after = editor.value;
  const isChanged = before.trim() !== after.trim();
  place.hidden = !isChanged || before.length + after.length > MOST;
  if (place.hidden) return;
  const { diffWords } = await library();
  if (editor.value !== after) return;
  const intlSegmenter = new Intl.Segmenter(undefined, { granularity: "word" });
  place.replaceChildren(...diffWords(before, after, { intlSegmenter }).map((part) => {
    const node = document.createElement(part.added ? "ins" : part.removed ? "del" : "span");
    node.textContent = part.value;
    if (part.added || part.removed) node.dir = "auto";
    return node;
  }));
}
