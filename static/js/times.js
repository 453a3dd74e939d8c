// <time datetime data-ago>: how far away in the reader's words, the exact moment in their zone on hover.
// <time datetime data-clock>: the time of day in their zone.

const relative = new Intl.RelativeTimeFormat(undefined, { numeric: "auto", style: "short" });
const exact = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });
const clock = new Intl.DateTimeFormat(undefined, { timeStyle: "short" });
const UNITS = [["year", 31_536_000], ["month", 2_592_000], ["day", 86_400], ["hour", 3_600], ["minute", 60]];

export function showTimes(root) {
  for (const time of root.querySelectorAll?.("time[data-ago]") ?? []) {
    const moment = new Date(time.dateTime);
    const seconds = (moment - Date.now()) / 1000;
    const [unit, length] = UNITS.find(([, size]) => Math.abs(seconds) >= size) ?? ["minute", 60];
    const text = relative.format(Math.trunc(seconds / length), unit);
    if (time.textContent !== text) time.textContent = text;
    time.title = exact.format(moment);
  }
  for (const time of root.querySelectorAll?.("time[data-clock]") ?? []) {
    const moment = new Date(time.dateTime);
    time.textContent = clock.format(moment);
    time.title = exact.format(moment);
  }
}
