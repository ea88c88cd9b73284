// Formats sizes and durations as the server's pages do.
import { count, tenths } from "./numbers.js";
import { _ } from "./words.js";

export function size(bytes) {
  let amount = bytes;
  for (const unit of ["B", "KiB", "MiB"]) {
    if (amount < 1024) return `${unit === "B" ? count(Math.round(amount)) : tenths(amount)} ${unit}`;
    amount /= 1024;
  }
  return `${tenths(amount)} GiB`;
}

export function duration(seconds) {
  const whole = Math.max(0, Math.round(seconds));
  if (whole < 60) return _("%(seconds)s s", { seconds: whole });
  if (whole < 3600) return _("%(minutes)s min %(seconds)s s", { minutes: Math.floor(whole / 60), seconds: whole % 60 });
  return _("%(hours)s h %(minutes)s min", { hours: Math.floor(whole / 3600), minutes: Math.floor((whole % 3600) / 60) });
}
