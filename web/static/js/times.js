// Shows every <time> in the account's zone, else in the browser's, which is sent to the server for filters by day.
const YEAR_SECONDS = 31536000;
const { lang, dataset } = document.documentElement;
const zone = dataset.zone || Intl.DateTimeFormat().resolvedOptions().timeZone;
const written = { timeZone: zone, hourCycle: "h23", year: "numeric", month: "short", day: "numeric", hour: "2-digit", minute: "2-digit" };
const writer = new Intl.DateTimeFormat(`${lang}-u-nu-latn`, written);

/** In English the day comes first, as the server writes it; other languages have their own order. */
function write(at) {
  if (lang !== "en") return writer.format(at);
  const { day, month, year, hour, minute } = Object.fromEntries(writer.formatToParts(at).map(({ type, value }) => [type, value]));
  return `${day} ${month} ${year}, ${hour}:${minute}`;
}

export function showTimes(root = document) {
  for (const element of root.querySelectorAll("time[datetime]:not([data-local])")) {
    element.textContent = write(new Date(element.dateTime));
    element.dataset.local = "";
  }
}

if (!document.cookie.split("; ").includes(`zone=${zone}`)) {
  const secure = location.protocol === "https:" ? "; Secure" : "";
  document.cookie = `zone=${zone}; Path=/; Max-Age=${YEAR_SECONDS}; SameSite=Lax${secure}`;
}
showTimes();
