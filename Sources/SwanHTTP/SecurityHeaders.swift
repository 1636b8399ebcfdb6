import HTTPTypes

/// Headers that keep browsers from using responses in ways that they are not meant for.
enum SecurityHeaders {
    /// What a page of this server may load: only from this server, and images it made itself.
    private static let page = [
        "default-src 'self'", "img-src 'self' blob: data:", "media-src 'self' blob:",
        "object-src 'none'", "base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'",
    ].joined(separator: "; ")

    /// Everything that is not a page loads nothing.
    private static let data = "default-src 'none'; frame-ancestors 'none'"

    /// Adds the headers to those of a response, unless the response has its own.
    static func add(to fields: inout HTTPFields) {
        let isPage = fields[.contentType]?.hasPrefix("text/html") ?? false
        set(.contentSecurityPolicy, isPage ? page : data, &fields)
        set(.xContentTypeOptions, "nosniff", &fields)
        set(.crossOriginResourcePolicy, "same-origin", &fields)
        set(.referrerPolicy, "no-referrer", &fields)
        set(.cacheControl, "no-store", &fields)
        guard isPage else { return }
        set(.crossOriginOpenerPolicy, "same-origin", &fields)
        set(
            .permissionsPolicy,
            "camera=(self), display-capture=(self), microphone=(), geolocation=()",
            &fields
        )
    }

    private static func set(_ name: HTTPField.Name?, _ value: String, _ fields: inout HTTPFields) {
        guard let name, fields[name] == nil else { return }
        fields[name] = value
    }
}

extension HTTPField.Name {
    fileprivate static let crossOriginOpenerPolicy = HTTPField.Name("Cross-Origin-Opener-Policy")
    fileprivate static let permissionsPolicy = HTTPField.Name("Permissions-Policy")
    fileprivate static let referrerPolicy = HTTPField.Name("Referrer-Policy")
}
