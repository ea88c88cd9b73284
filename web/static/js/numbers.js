// Formats numbers as the server's pages do: in the language of the page, with digits 0 to 9.
const { lang } = document.documentElement;
const language = `${lang === "en" ? "en-GB" : lang}-u-nu-latn`;

export const count = (value) => value.toLocaleString(language, { useGrouping: "always" });

export const percent = (value) => value.toLocaleString(language, { style: "percent", useGrouping: false });

/** Format a value that is small in its unit with this many significant digits. */
export const significant = (value, digits) => value.toLocaleString(language, { minimumSignificantDigits: digits, maximumSignificantDigits: digits });

export const tenths = (value) => value.toLocaleString(language, { minimumFractionDigits: 1, maximumFractionDigits: 1 });
