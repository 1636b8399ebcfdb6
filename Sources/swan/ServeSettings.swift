import Foundation
import Logging
import SwanCheckpoints
import SwanPipelines
import SwanServer
import SwanSystem

/// A setting of `swan serve`: an option that may also stand in the environment and in a settings file.
struct ServeSetting: Sendable {
    enum Kind: String, Sendable {
        case text
        case whole = "a whole number"
        case number = "a number"
        case list = "a list of texts"
        case names = "names separated by commas, or a list of them"
        case flag = "true or false"
    }

    /// The option without its dashes, which is also the key in a file.
    let name: String
    let kind: Kind
    /// The value in effect: none, one, or those of a list.
    let values: @Sendable (ServeCommand) -> [String]

    init(
        _ name: String,
        _ kind: Kind = .text,
        _ values: @escaping @Sendable (ServeCommand) -> [String]
    ) {
        self.name = name
        self.kind = kind
        self.values = values
    }

    /// All settings. Each option of the command but those that print something is one.
    static let all = [
        ServeSetting("model") { [$0.loading.model] },
        ServeSetting("vae") { [$0.loading.vae].compactMap { $0 } },
        ServeSetting("config") { [$0.loading.config].compactMap { $0 } },
        ServeSetting("lora", .list) { $0.loading.loras.map(\.text) },
        ServeSetting("lora-strict", .flag) { $0.loading.requiresWholeLoRAs ? ["true"] : [] },
        ServeSetting("device") { [$0.loading.device.name] },
        ServeSetting("devices", .names) { [$0.devices?.description].compactMap { $0 } },
        ServeSetting("dtype") { [$0.loading.dtype.rawValue] },
        ServeSetting("host") { [$0.host] },
        ServeSetting("port", .whole) { ["\($0.port)"] },
        ServeSetting("tls") { [$0.tls].compactMap { $0 } },
        ServeSetting(ServeSettings.tokenFile) { [$0.tokenFile].compactMap { $0 } },
        ServeSetting("allow-origin", .list) { $0.allowedOrigins },
        ServeSetting("max-sessions", .whole) { ["\($0.maxSessions)"] },
        ServeSetting("overcommit", .flag) { $0.overcommit ? ["true"] : [] },
        ServeSetting("jobs") { [$0.jobOptions.jobs].compactMap { $0 } },
        ServeSetting("video-model") { [$0.jobOptions.videoModel].compactMap { $0 } },
        ServeSetting("max-jobs", .whole) { ["\($0.jobOptions.maxJobs)"] },
        ServeSetting("keep-jobs", .whole) { ["\($0.jobOptions.keepJobs)"] },
        ServeSetting("osc") { [$0.osc?.description].compactMap { $0 } },
        ServeSetting("demo-timeout", .number) { ["\($0.demoTimeout)"] },
        ServeSetting("layout") { [$0.ranked.layout?.rawValue].compactMap { $0 } },
        ServeSetting("schedule-blocks", .flag) { $0.ranked.scheduleBlocks ? ["true"] : [] },
        ServeSetting("encode-rank", .flag) { $0.ranked.encodeRank ? ["true"] : [] },
        ServeSetting("decode-rank", .flag) { $0.ranked.decodeRank ? ["true"] : [] },
        ServeSetting("decode-ranks", .whole) {
            [$0.ranked.decodeRanks.map(String.init)].compactMap { $0 }
        },
        ServeSetting("log-format") { [$0.logFormat.rawValue] },
        ServeSetting("log-level") { [$0.logLevel.rawValue] },
        ServeSetting("log-file") { [$0.logging.logFile].compactMap { $0 } },
        ServeSetting("verbose", .flag) { $0.logging.verbose ? ["true"] : [] },
        ServeSetting("quiet", .flag) { $0.logging.quiet ? ["true"] : [] },
    ]
}

/// Where the settings of `swan serve` come from: the command line, then the environment, then a file.
struct ServeSettings {
    /// The key of the token, which is no option: others can read a process's arguments.
    static let token = "token"
    /// The setting that names a file with the token.
    static let tokenFile = "token-file"

    private let arguments: [String]
    private let sources: [SettingSource]

    /// What stands behind `serve` on the command line of this process, or behind 'swan launch … --'.
    static var ownArguments: [String] {
        let all = CommandLine.arguments.dropFirst()
        let own = all.first == "launch" ? all.drop { $0 != "--" }.dropFirst() : all
        return Array(own.dropFirst())
    }

    /// Reads the environment, and the file that it or the command line names.
    ///
    /// - Parameter arguments: The arguments behind `serve`.
    init(
        _ arguments: [String],
        environment: [String: String] = ProcessInfo.processInfo.environment
    ) throws(SwanError) {
        self.arguments = arguments
        let variables = SettingSource.environment(environment)
        let named = Self.value(of: "settings", in: arguments)
        let fromVariable = try variables.texts("settings", .text)?.first
        var sources = [variables]
        if let file = named ?? fromVariable {
            let known = ServeSetting.all.map(\.name) + [Self.token]
            sources.append(try SettingSource.file(file, known: known))
        }
        if let own = SettingFile.userPath(environment), let root = CommandTree.program?.command {
            sources += try SettingFile(own, of: "serve", in: root, isShared: true).sources
        }
        self.sources = sources
    }

    /// Adds what the environment and a file say to the arguments of `swan serve`; returns others as they are.
    static func adding(to arguments: [String]) throws(SwanError) -> [String] {
        guard arguments.first == "serve",
            !arguments.contains(where: { ["-h", "--help"].contains($0) })
        else { return arguments }
        let rest = Array(arguments.dropFirst())
        return ["serve"] + (try ServeSettings(rest).further) + rest
    }

    /// The settings of the environment and a file as arguments.
    private var further: [String] {
        get throws(SwanError) {
            var further: [String] = []
            for setting in ServeSetting.all {
                guard let source = try source(of: setting) else { continue }
                let values = try source.texts(setting.name, setting.kind) ?? []
                if setting.kind == .flag {
                    if values == ["true"] { further.append("--\(setting.name)") }
                } else {
                    further += values.map { "--\(setting.name)=\($0)" }
                }
            }
            return further
        }
    }

    /// The token, if the environment or a file holds it.
    func token() throws(SwanError) -> String? {
        for source in sources {
            if let text = try source.texts(Self.token, .text)?.first { return text }
        }
        return nil
    }

    /// Where a setting's value comes from: an option, a variable, a file or the default.
    func origin(of setting: ServeSetting) throws(SwanError) -> String {
        if Self.value(of: setting.name, in: arguments) != nil { return "--\(setting.name)" }
        return try source(of: setting)?.place(of: setting.name) ?? "default"
    }

    /// Variables of the environment that look like settings but are none, with the nearest setting.
    var unknownVariables: [String] {
        let known = ServeSetting.all.map(\.name) + [Self.token, "settings"]
        return sources.flatMap { $0.unknownNames(known: known) }
    }

    /// Settings of which only one may be given. That of an earlier source counts.
    private static let rivals = [tokenFile: token, "device": "devices", "devices": "device"]

    /// The source of a setting; nil if the command line has it or its rival, or nothing has.
    private func source(of setting: ServeSetting) throws(SwanError) -> SettingSource? {
        let rival = Self.rivals[setting.name]
        let names = [setting.name, rival].compactMap(\.self)
        guard !names.contains(where: { Self.value(of: $0, in: arguments) != nil }) else {
            return nil
        }
        for source in sources {
            if try source.texts(setting.name, setting.kind) != nil { return source }
            if let rival, source.contains(rival) { break }
        }
        return nil
    }

    /// The value of an option on the command line; empty if it is missing.
    private static func value(of name: String, in arguments: [String]) -> String? {
        let options = arguments.prefix { $0 != "--" }
        guard
            let index = options.lastIndex(where: { $0 == "--\(name)" || $0.hasPrefix("--\(name)=") }
            )
        else { return nil }
        let option = options[index]
        if let sign = option.firstIndex(of: "=") {
            return String(option[option.index(after: sign)...])
        }
        return options.dropFirst(index + 1).first ?? ""
    }
}

extension ServeSettings {
    /// The settings in effect and where each comes from, as a settings file.
    func text(_ command: ServeCommand) throws(SwanError) -> String {
        var lines: [(text: String, origin: String)] = []
        for setting in ServeSetting.all {
            let values = setting.values(command)
            let value: String
            switch setting.kind {
            case .list: value = "[\(values.map(Self.quoted).joined(separator: ", "))]"
            case .whole, .number, .flag: value = values.first ?? ""
            case .text, .names: value = values.first.map(Self.quoted) ?? ""
            }
            let line = "\(setting.name): \(value)"
            lines.append((values.isEmpty ? "# \(setting.name):" : line, try origin(of: setting)))
        }
        for source in sources where command.tokenFile == nil {
            guard try source.texts(Self.token, .text) != nil else { continue }
            lines.append(("# token: (not shown)", source.place(of: Self.token)))
            break
        }
        let width = lines.map(\.text.count).max() ?? 0
        return lines.map { text, origin in
            text.padding(toLength: max(width, text.count), withPad: " ", startingAt: 0) + "  # "
                + origin
        }.joined(separator: "\n")
    }

    /// A text in quotes, as YAML and JSON write it.
    private static func quoted(_ text: String) -> String {
        String(JSONLine.text(text).dropLast())
    }

    /// Says where the options in a parser's message come from, if not from the command line.
    static func explain(_ message: String, arguments: [String]) {
        guard arguments.first == "serve",
            let settings = try? ServeSettings(Array(arguments.dropFirst()))
        else { return }
        for setting in ServeSetting.all where message.contains("--\(setting.name)") {
            guard let source = try? settings.source(of: setting) else { continue }
            Terminal.standardError.write(
                kind: .note,
                "--\(setting.name) comes from \(source.place(of: setting.name))"
            )
        }
    }
}
