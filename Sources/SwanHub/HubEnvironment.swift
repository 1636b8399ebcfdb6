package import Foundation
package import SwanSystem

/// What the environment says about the hub: where it is, who asks, and through which proxy.
///
/// The variables are those of Python's `huggingface_hub`, so that one set-up serves both.
package struct HubEnvironment: Sendable {
    /// Where the hub's own address leads: `HF_ENDPOINT`.
    package let endpoint: URL
    /// Sent to the endpoint, and to no other host.
    package let token: String?
    /// Whether nothing may be fetched: `HF_HUB_OFFLINE`.
    package let isOffline: Bool
    package let proxies: ProxySettings
    /// Certificates to trust instead of the system's: `SSL_CERT_FILE`.
    package let certificates: String?
    /// The cache of `huggingface_hub`, in which files may be already.
    package let cache: String
    /// How long connections may take and be silent.
    package var timing: HubTiming

    /// Reads the environment. Throws if a variable cannot be used, naming it.
    package init(
        _ environment: [String: String] = ProcessInfo.processInfo.environment,
        timing: HubTiming = HubTiming()
    ) throws(SwanError) {
        func value(_ names: String...) -> String? {
            names.lazy.compactMap { environment[$0] }.first { !$0.isEmpty }
        }
        func isTrue(_ name: String) -> Bool {
            ["1", "ON", "YES", "TRUE"].contains(environment[name, default: ""].uppercased())
        }
        endpoint = try Self.endpoint(value("HF_ENDPOINT") ?? "https://huggingface.co")
        let home = value("HOME") ?? NSHomeDirectory()
        let caches = value("XDG_CACHE_HOME") ?? home + "/.cache"
        let folder = value("HF_HOME") ?? caches + "/huggingface"
        cache = value("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE") ?? folder + "/hub"
        let given = value("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")
        if let given {
            token = try Self.cleaned(given, "HF_TOKEN")
        } else if isTrue("HF_HUB_DISABLE_IMPLICIT_TOKEN") {
            token = nil
        } else {
            let path = value("HF_TOKEN_PATH") ?? folder + "/token"
            let isThere = FileIdentity.isTaken(path)
            token = isThere ? try Self.cleaned(SmallFile.text(path, atMost: 65_536), path) : nil
        }
        isOffline = isTrue("HF_HUB_OFFLINE") || isTrue("TRANSFORMERS_OFFLINE")
        proxies = try ProxySettings(environment)
        certificates = value("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
        self.timing = timing
        if let text = value("HF_HUB_DOWNLOAD_TIMEOUT"), let seconds = Int(text), seconds > 0 {
            self.timing.silence = .seconds(seconds)
        }
    }

    private static func endpoint(_ text: String) throws(SwanError) -> URL {
        var text = text[...]
        while text.hasSuffix("/") { text = text.dropLast() }
        guard let url = URL(string: String(text)), let scheme = url.scheme?.lowercased(),
            ["http", "https"].contains(scheme), url.host?.isEmpty == false
        else {
            throw SwanError(
                .invalidRequest,
                "HF_ENDPOINT: '\(text.description.printable())' is not an address such as "
                    + "https://huggingface.co"
            )
        }
        return url
    }

    private static func cleaned(_ text: String, _ origin: String) throws(SwanError) -> String? {
        let token = text.trimmingCharacters(in: .whitespacesAndNewlines)
        guard !token.isEmpty else { return nil }
        guard token.utf8.allSatisfy({ (0x21...0x7E).contains($0) }) else {
            throw SwanError(.invalidRequest, "\(origin): is not a token of Hugging Face")
        }
        return token
    }

    /// Whether a URL is the endpoint's: the same scheme, host and port.
    package func isEndpoint(_ url: URL) -> Bool {
        Self.origin(url) == Self.origin(endpoint)
    }

    private static func origin(_ url: URL) -> [String] {
        let scheme = url.scheme?.lowercased() ?? ""
        let port = url.port ?? (scheme == "https" ? 443 : 80)
        return [scheme, url.host?.lowercased() ?? "", "\(port)"]
    }
}

/// How long the network may take, and how often a download is tried.
package struct HubTiming: Sendable {
    /// For a connection to be made.
    package var connecting: Duration = .seconds(15)
    /// Without a byte before a connection counts as lost.
    package var silence: Duration = .seconds(30)
    /// How often a request or a download may fail in succession without having brought anything.
    package var attempts = 5
    /// The wait after the first failure; each further one doubles it.
    package var firstWait: Duration = .seconds(1)
    /// The longest wait that a server may ask for.
    package var longestWait: Duration = .seconds(600)

    package init() {}

    /// The wait after a number of failures in succession, if the server asks for none.
    func wait(after failures: Int) -> Duration {
        min(firstWait * (1 << min(max(failures - 1, 0), 5)), .seconds(30))
    }
}
