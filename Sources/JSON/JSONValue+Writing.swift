extension JSONValue {
  /// The value as text, for people: two blanks for each level, members in their order, a newline at the end.
  public func encoded() -> [UInt8] {
    var text = ""
    write(to: &text, indentation: "")
    return Array(text.utf8) + [UInt8(ascii: "\n")]
  }

  private func write(to text: inout String, indentation: String) {
    let inner = indentation + "  "
    switch self {
    case .null: text += "null"
    case .boolean(let value): text += value ? "true" : "false"
    case .number(let digits): text += digits
    case .string(let value): Self.quote(value, to: &text)
    case .array(let values):
      Self.list(values, "[", "]", to: &text, indentation) { value, text in value.write(to: &text, indentation: inner) }
    case .object(let members):
      Self.list(members, "{", "}", to: &text, indentation) { member, text in
        Self.quote(member.key, to: &text)
        text += ": "
        member.value.write(to: &text, indentation: inner)
      }
    }
  }

  private static func list<Item>(
    _ items: [Item], _ opening: String, _ closing: String, to text: inout String, _ indentation: String,
    _ write: (Item, inout String) -> Void
  ) {
    text += opening
    for (number, item) in items.enumerated() {
      text += (number == 0 ? "\n" : ",\n") + indentation + "  "
      write(item, &text)
    }
    text += (items.isEmpty ? "" : "\n" + indentation) + closing
  }

  private static func quote(_ value: String, to text: inout String) {
    text += "\""
    for scalar in value.unicodeScalars {
      switch scalar {
      case "\"": text += "\\\""
      case "\\": text += "\\\\"
      case "\n": text += "\\n"
      case "\t": text += "\\t"
      case _ where scalar.value < 0x20:
        let digits = String(scalar.value, radix: 16)
        text += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
      default: text.unicodeScalars.append(scalar)
      }
    }
    text += "\""
  }
}
