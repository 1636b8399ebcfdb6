import ArgumentParser

/// `swan bench`: measures this machine's speed, a model's quality, or what users of a server get.
struct BenchCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "bench",
        abstract: "Measure speed on this machine, a model's quality, or a server.",
        discussion: """
            The default subcommand is 'speed': 'swan bench dit vae' is 'swan bench speed dit vae'. \
            Measuring quality or a server takes minutes.
            """,
        subcommands: [
            BenchSpeedCommand.self, BenchQualityCommand.self, BenchServeCommand.self,
            BenchDistributeCommand.self, BenchScenesCommand.self, BenchDistillCommand.self,
        ],
        defaultSubcommand: BenchSpeedCommand.self
    )
}
