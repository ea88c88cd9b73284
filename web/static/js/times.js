// Shows every <time> in the account's zone, else in the browser's own, which it tells the server for the days of filters.
const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const YEAR_SECONDS = 31536000;
const zone = document.documentElement.dataset.zone || Intl.DateTimeFormat().resolvedOptions().timeZone;
const written = { timeZone: zone, hourCycle: "h23", year: "numeric", month: "numeric", day: "numeric", hour: "2-digit", minute: "2-digit" };
const parts = new Intl.DateTimeFormat("en", written);

export function showTimes(root = document) {
  for (const element of root.querySelectorAll("time[datetime]:not([data-local])")) {
    const at = Object.fromEntries(parts.formatToParts(new Date(element.dateTime)).map(({ type, value }) => [type, value]));
    element.textContent = `${at.day} ${MONTHS[at.month - 1]} ${at.year}, ${at.hour}:${at.minute}`;
    element.dataset.local = "";
  }
}

if (!document.cookie.split("; ").includes(`zone=${zone}`)) {
  const secure = location.protocol === "https:" ? "; Secure" : "";
  document.cookie = `zone=${zone}; Path=/; Max-Age=${YEAR_SECONDS}; SameSite=Lax${secure}`;
}
showTimes();
