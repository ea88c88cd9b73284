// The texts of scripts in the language of the page: `_("Sign out")`, `plural(3, "%(count)s file", "%(count)s files")`.
// The English text is the key; `make translations` finds these calls, so a text must be one plain string.
import { count } from "./numbers.js";

const { lang, dataset } = document.documentElement;
const rules = new Intl.PluralRules(lang);
// The order of the plural forms in a catalog; a language has some of them (CLDR plural rules).
const forms = ["zero", "one", "two", "few", "many", "other"].filter((form) => rules.resolvedOptions().pluralCategories.includes(form));
const words = dataset.words ? await read(dataset.words) : {};

/** Fetch the translations; if that fails, texts stay in English and the page works. */
async function read(address) {
  try {
    const answer = await fetch(address);
    return answer.ok ? await answer.json() : {};
  } catch (error) {
    console.warn(`The translations could not be fetched: ${error.message}`);
    return {};
  }
}

const fill = (text, values) => text.replaceAll(/%\((\w+)\)s/g, (_whole, name) => values[name]);

export const _ = (text, values = {}) => fill(words[text] ?? text, values);

/** A text that has another meaning in another context; the first argument names the context. */
export const pgettext = (context, text) => words[`${context}\u0004${text}`] ?? text;

export function plural(number, one, many, values = {}) {
  const text = words[one]?.[forms.indexOf(rules.select(number))] ?? (number === 1 ? one : many);
  return fill(text, { count: count(number), ...values });
}
