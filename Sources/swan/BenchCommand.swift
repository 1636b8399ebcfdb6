import ArgumentParser

/// `swan bench`: measures this machine's speed, or a model's quality.
struct BenchCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "bench",
        abstract: "Measure speed on this machine, or a model's quality.",
        discussion: """
            The default subcommand is 'speed': 'swan bench dit vae' is 'swan bench speed dit vae'. \
            Measuring quality takes minutes.
            """,
        subcommands: [BenchSpeedCommand.self, BenchQualityCommand.self],
        defaultSubcommand: BenchSpeedCommand.self
    )
}
