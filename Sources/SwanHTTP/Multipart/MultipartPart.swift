import HTTPTypes

/// The description of a part of a form.
package struct MultipartPart: Sendable, Equatable {
    /// The name of the field.
    package let name: String
    /// Whether the part is a file. Its name is the client's business and is not kept.
    package let isFile: Bool

    /// Reads the headers of a part: the lines between its boundary and its empty line.
    init(headers: some Collection<UInt8>) throws(APIError) {
        guard let text = String(validating: headers, as: UTF8.self) else {
            throw .malformedForm("A header of a part is not UTF-8.")
        }
        var disposition: Substring?
        for line in text.split(separator: "\r\n") {
            guard line.utf8.allSatisfy({ $0 >= 0x20 || $0 == 0x09 }), line.first != " ",
                let colon = line.firstIndex(of: ":")
            else { throw .malformedForm("A header of a part is malformed.") }
            switch line[..<colon].lowercased() {
            case "content-disposition":
                guard disposition == nil else {
                    throw .malformedForm("A part has two Content-Disposition headers.")
                }
                disposition = line[colon...].dropFirst()
            case "content-transfer-encoding":
                let encoding = line[colon...].dropFirst().lowercased().filter { $0 != " " }
                guard ["binary", "8bit", "7bit"].contains(encoding) else {
                    throw .malformedForm("Send parts as they are, without a transfer encoding.")
                }
            default: break
            }
        }
        guard let disposition, let fields = Self.parameters(of: disposition),
            let name = fields["name"], !name.isEmpty
        else {
            throw .malformedForm(
                "A part needs the header Content-Disposition: form-data; name=\"…\"."
            )
        }
        self.name = name
        isFile = fields["filename"] != nil || fields["filename*"] != nil
    }

    /// The parameters of `form-data; name="a"; filename="b"`; nil if the text is anything else.
    private static func parameters(of text: Substring) -> [String: String]? {
        var rest = text[...]
        guard token(&rest)?.lowercased() == "form-data" else { return nil }
        var found: [String: String] = [:]
        while skipSpaces(&rest), let next = rest.first {
            guard next == ";" else { return nil }
            rest.removeFirst()
            guard let key = token(&rest)?.lowercased(), rest.first == "=" else { return nil }
            rest.removeFirst()
            guard let value = rest.first == "\"" ? quoted(&rest) : token(&rest),
                found.updateValue(value, forKey: key) == nil
            else { return nil }
        }
        return found
    }

    private static func skipSpaces(_ text: inout Substring) -> Bool {
        text = text.drop { $0 == " " || $0 == "\t" }
        return true
    }

    private static func token(_ text: inout Substring) -> String? {
        guard skipSpaces(&text) else { return nil }
        let token = text.prefix { !" \t;=\"".contains($0) }
        text = text[token.endIndex...]
        return token.isEmpty ? nil : String(token)
    }

    /// A quoted text. Browsers write a quotation mark in it as %22, others as \".
    private static func quoted(_ text: inout Substring) -> String? {
        text.removeFirst()
        var value = ""
        while let next = text.popFirst() {
            if next == "\"" { return value }
            guard next == "\\", let escaped = text.first, escaped == "\"" || escaped == "\\" else {
                value.append(next)
                continue
            }
            value.append(escaped)
            text.removeFirst()
        }
        return nil
    }
}

extension APIError {
    /// A form that violates RFC 7578.
    static func malformedForm(_ message: String) -> APIError {
        APIError(.badRequest, "malformed_form", message)
    }

    /// A form that exceeds a limit.
    static func formTooLarge(_ message: String, parameter: String? = nil) -> APIError {
        APIError(.contentTooLarge, "form_too_large", message, parameter: parameter)
    }
}
