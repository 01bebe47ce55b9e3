/** The chart of a run: sagas a second of each contender, on a logarithmic scale, as one SVG without a script. */
import type { Cell } from "./main.ts"

interface About {
  readonly date: string
  readonly command: string
  readonly postgres: string
  readonly cores: number
  readonly versions: Readonly<Record<string, string>>
}

const colours: Readonly<Record<string, string>> = {
  "effect-saga": "#0969da",
  group: "#8c959f",
  commit: "#8c959f",
  dbos: "#d4a72c",
  absurd: "#bc4c00",
  cluster: "#8250df"
}

const width = 860
const left = 300
const right = 110
const bar = 17

const text = (x: number, y: number, content: string, more = ""): string =>
  `<text x="${x}" y="${y}" ${more}>${content.replaceAll("&", "&amp;").replaceAll("<", "&lt;")}</text>`

const median = (values: ReadonlyArray<number>): number => values.toSorted((a, b) => a - b)[values.length >> 1]!

export const chart = (cells: ReadonlyArray<Cell>, about: About): string => {
  const shown = cells.filter(({ work }) => work === "S5")
  const groups = [...new Set(shown.map(({ concurrency }) => concurrency))]
  const rates = shown.flatMap(({ runs }) => runs.map(({ rate }) => rate))
  const [least, most] = [Math.log10(Math.min(10, ...rates)), Math.log10(Math.max(...rates))]
  const at = (rate: number): number => left + (Math.log10(rate) - least) / (most - least) * (width - left - right)
  const parts: Array<string> = []
  let y = 30
  parts.push(text(16, y, "Sagas of five durable steps a second, on one PostgreSQL (logarithmic)", "class=\"title\""))
  for (const concurrency of groups) {
    y += 30
    parts.push(text(16, y, concurrency === 1 ? "1 caller" : `${concurrency} callers`, "class=\"group\""))
    const ofGroup = shown.filter((cell) => cell.concurrency === concurrency)
    for (const { contender, runs, title } of ofGroup) {
      y += bar + 5
      const all = runs.map(({ rate }) => rate)
      const rate = median(all)
      parts.push(text(left - 8, y - 4, title, "text-anchor=\"end\""))
      const length = Math.max(1, at(rate) - left)
      parts.push(
        `<rect x="${left}" y="${y - bar}" width="${length.toFixed(1)}" height="${bar}" fill="${colours[contender]}"/>`
      )
      const [from, to] = [at(Math.min(...all)), at(Math.max(...all))].map((x) => x.toFixed(1))
      parts.push(`<path d="M${from} ${y - bar / 2}H${to}" stroke="#1f2328" stroke-width="2"/>`)
      parts.push(text(Math.max(at(rate), Number(to)) + 6, y - 4, rate >= 100 ? rate.toFixed(0) : rate.toFixed(1)))
    }
  }
  const versions = Object.entries(about.versions).map(([name, version]) => `${name} ${version}`).join(", ")
  const notes = [
    `${about.date}, ${about.command}; the line: least to most of the rounds`,
    `PostgreSQL ${about.postgres}, durable, ${about.cores} cores shared with the client`,
    versions
  ]
  y += 11
  for (const note of notes) {
    y += 15
    parts.push(text(16, y, note, "class=\"small\""))
  }
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${y + 13}" role="img">
<style>
text{font:12px system-ui,sans-serif;fill:#1f2328}
.title{font-size:15px;font-weight:600}
.group{font-weight:600}
.small{font-size:10px;fill:#57606a}
</style>
<rect width="100%" height="100%" fill="#ffffff"/>
${parts.join("\n")}
</svg>
`
}
