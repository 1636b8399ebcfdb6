import SwanEvaluation
import Testing

@testable import SwanServeBench

@Suite struct HostileTests {
    /// A round in which the machine was busy with something else is one of three.
    @Test func theMedianOfTheRoundsCounts() {
        let rounds = [
            HostileRound(alone: [100, 100], beside: [110, 120]),
            HostileRound(alone: [100, 100], beside: [900, 900]),
            HostileRound(alone: [200, 200], beside: [220, 220]),
        ]
        let figures = HostileRound.figures(rounds, dropped: 3)
        #expect(figures.map(\.value) == [1.2, 3, 100, 220])
        #expect(figures.allSatisfy { $0.holds })
    }

    @Test func clientsWithSessionsAskForThem() {
        for kind in HostileClients.Kind.allCases {
            let needsSession = [.damaged, .unread, .hasty].contains(kind)
            #expect((kind.start != nil) == needsSession)
        }
        #expect(HostileClients.Kind.allCases.map(\.count).reduce(0, +) == 78)
    }
}
