import FoundationEssentials

/// Decodes `bytes`; every way to fail names the key, as in `lowers[1].size`.
func decodeJSON<T: Decodable>(_ type: T.Type, _ bytes: [UInt8], name: String) throws(ImageError) -> T {
  do {
    return try JSONDecoder().decode(type, from: Data(bytes))
  } catch let error as DecodingError {
    let (context, problem) = explain(error)
    throw .json(name: name, key: keyPath(context.codingPath), problem)
  } catch {
    throw .json(name: name, key: "", "is not JSON: \(error)")
  }
}

private func explain(_ error: DecodingError) -> (DecodingError.Context, String) {
  switch error {
  case .typeMismatch(let expected, let context):
    (context, "has the wrong type: expected \(jsonName(expected)). \(context.debugDescription)")
  case .valueNotFound(let expected, let context):
    (context, "is null: expected \(jsonName(expected))")
  case .keyNotFound(let key, let context):
    (context, "lacks the key \(key.stringValue)")
  case .dataCorrupted(let context):
    (context, detail(context))
  @unknown default:
    (DecodingError.Context(codingPath: [], debugDescription: ""), "\(error)")
  }
}

private func detail(_ context: DecodingError.Context) -> String {
  guard let cause = context.underlyingError else { return context.debugDescription }
  return "\(context.debugDescription) \(cause)"
}

/// What the JSON value should have been, in JSON's words.
private func jsonName(_ type: Any.Type) -> String {
  switch type {
  case is Bool.Type: "true or false"
  case is String.Type: "a string"
  case is any BinaryInteger.Type: "a whole number"
  case is [Any].Type: "an array"
  default: "an object"
  }
}

private func keyPath(_ path: [any CodingKey]) -> String {
  path.reduce(into: "") { text, key in
    if let index = key.intValue {
      text += "[\(index)]"
    } else {
      text += text.isEmpty ? key.stringValue : ".\(key.stringValue)"
    }
  }
}
