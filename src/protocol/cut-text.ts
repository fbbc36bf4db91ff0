/**
 * The text, or its beginning and an ellipsis where it has more than so many characters (UTF-16 code units). What is answered
 * keeps nothing of the rest in memory: a part of a string in V8 is a view of the whole, however small it is. Pure.
 */
export function cutText(text: string, most: number): string {
  return text.length > most ? Buffer.from(`${text.slice(0, most)}…`).toString() : text
}
