/// A request that was answered, for metrics. It holds nothing that a client chose freely.
package struct RequestReport: Sendable {
    /// The method, or `other` for an unusual one.
    package let method: String
    /// The route's template, such as `/v1/realtime/sessions/{id}/stats`; `none` if no route answered.
    package let route: String
    /// The status of the response.
    package let status: Int
    /// The time until the response began.
    package let seconds: Double

    private static let methods: Set<String> = [
        "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS",
    ]

    init(method: String, route: String?, status: Int, seconds: Double) {
        self.method = Self.methods.contains(method) ? method : "other"
        self.route = route ?? "none"
        self.status = status
        self.seconds = seconds
    }
}
