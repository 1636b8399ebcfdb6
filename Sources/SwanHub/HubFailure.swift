import AsyncHTTPClient
import Foundation
import NIOCore
import NIOHTTP1
import NIOPosix
import NIOSSL
import SwanSystem

/// A failure that may pass: the same request can succeed a moment later.
struct HubFailure: Error {
    /// What failed, for the message.
    let message: String
    /// How long the server asks to wait.
    var wait: Duration?

    /// The failure or error that an error of the HTTP library stands for.
    static func describing(_ error: any Error, at url: URL) -> any Error {
        if error is SwanError || error is HubFailure || error is CancellationError { return error }
        if let error = error as? HTTPClientError, error == .cancelled { return CancellationError() }
        let place = HubConnections.shown(url)
        let detail = "\(error)"
        if detail.contains("CERTIFICATE_VERIFY_FAILED") || error is NIOSSLExtraError {
            return SwanError(
                .io,
                "\(place): its certificate is not valid on this machine; behind a proxy that reads "
                    + "TLS, set SSL_CERT_FILE to a file with the proxy's certificate"
            )
        }
        switch error as? HTTPClientError {
        case .proxyAuthenticationRequired?:
            return SwanError(.io, "\(place): the proxy wants a user and a password in its address")
        case .invalidProxyResponse?:
            return HubFailure(message: "\(place): the proxy refuses to connect to it")
        case .readTimeout?:
            return HubFailure(message: "\(place): nothing arrived for too long")
        case .connectTimeout?, .tlsHandshakeTimeout?, .httpProxyHandshakeTimeout?:
            return HubFailure(message: "\(place): no connection within the time limit")
        case .remoteConnectionClosed?:
            return HubFailure(message: "\(place): the connection was cut")
        default: break
        }
        if let error = error as? NIOConnectionError {
            let isUnknown = error.connectionErrors.isEmpty
            let what =
                isUnknown
                ? "its host is not known (no network, or a proxy is needed: HTTPS_PROXY)"
                : "no connection: "
                    + error.connectionErrors.map { reason($0.error) }.joined(separator: ", ")
            return HubFailure(message: "\(place): \(what)")
        }
        return HubFailure(message: "\(place): the connection failed: \(reason(error))")
    }

    private static func reason(_ error: any Error) -> String {
        guard let error = error as? IOError else { return "\(error)".printable() }
        return SwanError.reason(error.errnoCode)
    }

    /// The failure that a status stands for, if it may pass.
    init?(status: Int, _ headers: HTTPHeaders, at url: URL) {
        guard [408, 425, 429, 500, 502, 503, 504].contains(status) else { return nil }
        let what = status == 429 ? "too many requests" : "the server has a problem"
        message = "\(HubConnections.shown(url)): \(what) (HTTP status \(status))"
        wait = Self.wait(headers)
    }

    init(message: String) { self.message = message }

    /// The wait that `Retry-After` asks for, in seconds or as a date, or `RateLimit`, whose `t` is
    /// the seconds until requests are allowed again.
    static func wait(_ headers: HTTPHeaders, now: Date = Date()) -> Duration? {
        if let text = headers.first(name: "Retry-After") {
            if let seconds = Int(text.trimmingCharacters(in: .whitespaces)), seconds >= 0 {
                return .seconds(min(seconds, 1_000_000))
            }
            let format = DateFormatter()
            format.locale = Locale(identifier: "en_US_POSIX")
            format.timeZone = TimeZone(secondsFromGMT: 0)
            format.dateFormat = "EEE, dd MMM yyyy HH:mm:ss zzz"
            if let date = format.date(from: text) {
                return .seconds(Int(max(0, min(1e6, date.timeIntervalSince(now).rounded(.up)))))
            }
        }
        if let limit = headers.first(name: "RateLimit"),
            let match = limit.firstMatch(of: /r\s*=\s*0\b.*?t\s*=\s*(\d{1,6})/)
        {
            return Int(match.1).map { .seconds($0) }
        }
        return nil
    }
}

/// Repeats what failed in a way that may pass.
struct Retries {
    private let timing: HubTiming
    private let report: @Sendable (PullEvent) -> Void
    private let advice: String
    private var failures = 0

    /// - Parameter advice: What to do when waiting has not helped, as the end of a sentence.
    init(
        _ timing: HubTiming,
        _ report: @escaping @Sendable (PullEvent) -> Void,
        advice: String = ""
    ) {
        (self.timing, self.report, self.advice) = (timing, report, advice)
    }

    /// Something arrived: earlier failures no longer count.
    mutating func succeed() { failures = 0 }

    /// Waits after a failure; throws it if there were too many, or if the wait is too long.
    mutating func wait(after failure: HubFailure) async throws {
        failures += 1
        guard failures < timing.attempts else { throw SwanError(.io, failure.message + advice) }
        let wait = failure.wait ?? timing.wait(after: failures)
        guard wait <= timing.longestWait else {
            throw SwanError(
                .io,
                "\(failure.message); it asks to try again in \(wait.components.seconds) s"
            )
        }
        report(.note("\(failure.message); trying again in \(max(1, wait.components.seconds)) s"))
        try await Task.sleep(for: wait)
    }

    /// Repeats a request until it succeeds.
    static func repeating<Value: Sendable>(
        _ timing: HubTiming,
        _ report: @escaping @Sendable (PullEvent) -> Void,
        _ request: () async throws -> Value
    ) async throws -> Value {
        var retries = Retries(timing, report)
        while true {
            do {
                return try await request()
            } catch let failure as HubFailure {
                try await retries.wait(after: failure)
            }
        }
    }
}
