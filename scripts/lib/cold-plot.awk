# Draws the rows of `scripts/bench cold` over the link that is far away as an SVG, a bar each: seconds until the device is
# handed over, and of the reads after that. From any file that has the table:
#
#     awk -f scripts/lib/cold-plot.awk README.md >Sources/warmblk/warmblk.docc/cold-start.svg
BEGIN {
  FS = " *[|] *"
  means["local files"] = "layers are files"
  means["cold"] = "empty cache"
  means["background"] = "--warm=background"
  means["wait"] = "--warm=wait"
  means["warm"] = "full cache"
}

$2 == "far" && $3 in means {
  count++
  name[count] = means[$3]
  added[count] = $5 / 1000
  took[count] = $6 / 1000
  if (added[count] + took[count] > longest) longest = added[count] + took[count]
}

END {
  if (!count) {
    print "cold-plot.awk: there is no row `| far | …` of scripts/bench cold" >"/dev/stderr"
    exit 1
  }
  left = 150; width = 470; row = 34; top = 46
  high = top + count * row + 16
  printf "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 760 %d\" font-family=\"sans-serif\" font-size=\"14\">\n", high
  print "<title>A start from a registry 21 ms away, seconds</title>"
  printf "<rect width=\"760\" height=\"%d\" fill=\"#ffffff\"/>\n", high
  key(left, "#e0812c", "until the device is handed over")
  key(left + 240, "#2f6f9f", "the 1500 reads")
  for (i = 1; i <= count; i++) {
    y = top + (i - 1) * row
    first = added[i] / longest * width
    second = took[i] / longest * width
    printf "<text x=\"%d\" y=\"%d\" text-anchor=\"end\">%s</text>\n", left - 10, y + 17, name[i]
    printf "<rect x=\"%d\" y=\"%d\" width=\"%.1f\" height=\"22\" fill=\"#e0812c\"/>\n", left, y, first
    printf "<rect x=\"%.1f\" y=\"%d\" width=\"%.1f\" height=\"22\" fill=\"#2f6f9f\"/>\n", left + first, y, second
    printf "<text x=\"%.1f\" y=\"%d\">%.2f s</text>\n", left + first + second + 8, y + 17, added[i] + took[i]
  }
  print "</svg>"
}

function key(x, colour, text) {
  printf "<rect x=\"%d\" y=\"14\" width=\"14\" height=\"14\" fill=\"%s\"/><text x=\"%d\" y=\"26\">%s</text>\n", x, colour, x + 20, text
}
